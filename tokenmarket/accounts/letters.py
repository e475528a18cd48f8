"""The letters that are sent to people with accounts, in the language of whom they are for."""

from __future__ import annotations

from tokenmarket.mail import Message

_LETTERS = {
    "reset": {
        "en": (
            "Reset your password",
            "Somebody, probably you, asked to reset the password of this TokenMarket account.\n"
            "Set a new one within an hour:\n\n{link}\n\n"
            "If it was not you, do nothing: the password stays as it is.\n",
        ),
        "zh": (
            "重置密码",
            "有人（可能是您本人）请求重置此 TokenMarket 账户的密码。\n"
            "请在一小时内设置新密码：\n\n{link}\n\n"
            "如果不是您本人操作，请忽略此邮件，密码不会改变。\n",
        ),
    },
    "sign_up": {
        "en": (
            "Make your account",
            "Somebody, probably you, asked for a TokenMarket account with this address.\n"
            "Make it within a day:\n\n{link}\n\n"
            "If it was not you, do nothing: no account is made.\n",
        ),
        "zh": (
            "创建您的账户",
            "有人（可能是您本人）请求用此邮箱注册 TokenMarket 账户。\n"
            "请在一天内完成注册：\n\n{link}\n\n"
            "如果不是您本人操作，请忽略此邮件，不会创建账户。\n",
        ),
    },
    "has_account": {
        "en": (
            "You have an account already",
            "Somebody, probably you, asked for a TokenMarket account with this address.\n"
            "There is one already. Sign in, or reset the password from there:\n\n{link}\n\n"
            "If it was not you, do nothing: nothing was changed.\n",
        ),
        "zh": (
            "您已有账户",
            "有人（可能是您本人）请求用此邮箱注册 TokenMarket 账户。\n"
            "此邮箱已有账户。请登录，或在登录页重置密码：\n\n{link}\n\n"
            "如果不是您本人操作，请忽略此邮件，没有任何更改。\n",
        ),
    },
    "verify": {
        "en": (
            "Confirm your e-mail address",
            "Welcome to TokenMarket. Confirm that this address is yours:\n\n{link}\n",
        ),
        "zh": (
            "确认邮箱地址",
            "欢迎使用 TokenMarket。请确认此邮箱属于您：\n\n{link}\n",
        ),
    },
    "invitation": {
        "en": (
            "You are invited to {org}",
            "{inviter} invites you to the organization {org} on TokenMarket.\n"
            "Accept within seven days:\n\n{link}\n",
        ),
        "zh": (
            "邀请您加入 {org}",
            "{inviter} 邀请您加入 TokenMarket 上的组织 {org}。\n请在七天内接受邀请：\n\n{link}\n",
        ),
    },
    "webhook_failing": {
        "en": (
            "A webhook endpoint was turned off",
            "Your webhook endpoint at {host} took nothing for five days and was turned off.\n"
            "What is still to be sent waits. See why, and turn it on again:\n\n{link}\n",
        ),
        "zh": (
            "Webhook 端点已停用",
            "您位于 {host} 的 Webhook 端点连续五天没有接收任何内容，已被停用。\n"
            "待发送的内容会保留。查看原因并重新启用：\n\n{link}\n",
        ),
    },
    "webhook_gone": {
        "en": (
            "A webhook endpoint was turned off",
            "Your webhook endpoint at {host} answered 410 (gone) and was turned off.\n"
            "If it should go on, turn it on again:\n\n{link}\n",
        ),
        "zh": (
            "Webhook 端点已停用",
            "您位于 {host} 的 Webhook 端点返回 410（不再需要），已被停用。\n"
            "如需继续，请重新启用：\n\n{link}\n",
        ),
    },
    "password_changed": {
        "en": (
            "Your password was changed",
            "The password of this TokenMarket account was changed, and all other sessions were\n"
            "ended. If it was not you, reset it now:\n\n{link}\n",
        ),
        "zh": (
            "密码已更改",
            "此 TokenMarket 账户的密码已更改，其他会话均已结束。\n"
            "如果不是您本人操作，请立即重置：\n\n{link}\n",
        ),
    },
}


def letter(kind: str, to: str, language: str, **values: str) -> Message:
    """One letter; values are names that were checked to be one line."""
    subject, text = _LETTERS[kind]["zh" if language == "zh" else "en"]
    return Message(to, subject.format(**values), text.format(**values))
