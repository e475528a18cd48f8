"""A mail server for tests: keeps what it is sent, or refuses."""

import re

from tokenmarket.mail import Mail, MailFailed, MailServer, Message


class Mailbox(Mail):
    """``letters`` is what was handed over, in order."""

    def __init__(self, *, working: bool = True) -> None:
        super().__init__(MailServer("127.0.0.1", 25, tls=False), "tests@example.com")
        self.letters: list[Message] = []
        self.working = working

    async def send(self, message: Message) -> None:
        if not self.working:
            raise MailFailed("the test says no")
        self.letters.append(message)

    def post(self, message: Message) -> None:
        if self.working:
            self.letters.append(message)

    def link(self) -> str:
        """The address in the newest letter."""
        found = re.search(r"https?://\S+", self.letters[-1].text)
        assert found is not None
        return found[0]


def no_mail() -> Mail:
    return Mail(None, "tests@example.com")
