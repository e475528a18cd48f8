"""Languages: OpenAI says "english" in ``verbose_json`` where everybody else says "en" or "eng".

Names are those of Whisper's tokenizer, so that clients which compare see what they know; the codes
are ISO 639-1 and, where providers send them (ElevenLabs), the three-letter ones.
"""

from __future__ import annotations

_TABLE = """
af afr afrikaans|am amh amharic|ar ara arabic|as asm assamese|az aze azerbaijani|ba bak bashkir
be bel belarusian|bg bul bulgarian|bn ben bengali|bo bod tibetan|br bre breton|bs bos bosnian
ca cat catalan|cs ces czech|cy cym welsh|da dan danish|de deu german|el ell greek|en eng english
eo epo esperanto|es spa spanish|et est estonian|eu eus basque|fa fas persian|fi fin finnish
fo fao faroese|fr fra french|ga gle irish|gl glg galician|gu guj gujarati|ha hau hausa
haw haw hawaiian|he heb hebrew|hi hin hindi|hr hrv croatian|ht hat haitian creole|hu hun hungarian
hy hye armenian|id ind indonesian|ig ibo igbo|is isl icelandic|it ita italian|ja jpn japanese
jv jav javanese|ka kat georgian|kk kaz kazakh|km khm khmer|kn kan kannada|ko kor korean
ku kur kurdish|ky kir kyrgyz|la lat latin|lb ltz luxembourgish|ln lin lingala|lo lao lao
lt lit lithuanian|lv lav latvian|mg mlg malagasy|mi mri maori|mk mkd macedonian|ml mal malayalam
mn mon mongolian|mr mar marathi|ms msa malay|mt mlt maltese|my mya myanmar|ne nep nepali
nl nld dutch|nn nno nynorsk|no nor norwegian|oc oci occitan|pa pan punjabi|pl pol polish
ps pus pashto|pt por portuguese|ro ron romanian|ru rus russian|sa san sanskrit|sd snd sindhi
si sin sinhala|sk slk slovak|sl slv slovenian|sn sna shona|so som somali|sq sqi albanian
sr srp serbian|su sun sundanese|sv swe swedish|sw swa swahili|ta tam tamil|te tel telugu
tg tgk tajik|th tha thai|tk tuk turkmen|tl tgl tagalog|tr tur turkish|tt tat tatar
uk ukr ukrainian|ur urd urdu|uz uzb uzbek|vi vie vietnamese|xh xho xhosa|yi yid yiddish
yo yor yoruba|yue yue cantonese|zh zho chinese|zu zul zulu
"""
# Other codes of the same languages: bibliographic ones, Whisper's own, single members of a group.
_ALSO = {
    "jw": "jv",
    "iw": "he",
    "in": "id",
    "nb": "no",
    "nob": "no",
    "fil": "tl",
    "cmn": "zh",
    "chi": "zh",
    "ger": "de",
    "fre": "fr",
    "dut": "nl",
    "cze": "cs",
    "gre": "el",
    "per": "fa",
    "rum": "ro",
    "slo": "sk",
    "wel": "cy",
    "arm": "hy",
    "geo": "ka",
    "ice": "is",
    "alb": "sq",
    "baq": "eu",
    "bur": "my",
    "may": "ms",
    "mac": "mk",
    "tib": "bo",
    "zsm": "ms",
    "swh": "sw",
}
_NAMES: dict[str, str] = {}
_CODES: dict[str, str] = {}
for _row in _TABLE.replace("\n", "|").strip("|").split("|"):
    _code, _long, _name = _row.split(" ", 2)
    _NAMES[_code] = _name
    _CODES.update({_code: _code, _long: _code, _name: _code})
_CODES.update(_ALSO)


def language_code(text: str) -> str | None:
    """ "English", "eng", "en-US" -> "en"; None for what is not in the table."""
    name = text.strip().lower()
    return _CODES.get(name) or _CODES.get(name.replace("_", "-").split("-")[0])


def english_name(text: str) -> str:
    """ "en-US" -> "english"; what is not in the table stays as it is."""
    code = language_code(text)
    return text if code is None else _NAMES[code]
