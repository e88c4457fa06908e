"""Words for time, by language: of which texts tell a time, which questions ask for one, months."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from ..text.languages import LATIN
from ..text.light_stem import light_stem

__all__ = ["asks_when", "month_of", "tells_time", "year_of"]

_ENGLISH_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_ENGLISH = re.compile(
    r"\b(?:yesterday|today|tomorrow|tonight|ago|last|next|week|weekend|month|year|morning|evening"
    r"|night|(?:mon|tues|wednes|thurs|fri|satur|sun)day|recently|soon|since|\d{1,2}:\d\d"
    r"|(?:19|20)\d\d|" + "|".join(_ENGLISH_MONTHS) + r")\b",
    re.IGNORECASE,
)

_MONTHS = {
    "ar": "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
    "de": "januar februar märz april mai juni juli august september oktober november dezember",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre"
    " diciembre",
    "fi": "tammikuu helmikuu maaliskuu huhtikuu toukokuu kesäkuu heinäkuu elokuu syyskuu lokakuu"
    " marraskuu joulukuu",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "hi": "जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre"
    " dicembre",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro"
    " dezembro",
    "ru": "январь февраль март апрель май июнь июль август сентябрь октябрь ноябрь декабрь",
    "tr": "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık",
}
_SHORT_MONTHS = {"мая": 5, "мае": 5, "маю": 5}  # too short for a stem
_EAST_ASIAN_MONTH = re.compile(r"(?<!\d)(\d{1,2}) ?月|(十[一二]?|[一二三四五六七八九])月")
_HAN_NUMBERS = ("一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二")

_TIME = {
    "ar": "أمس غدا اليوم أسبوع شهر سنة عام صباح مساء ليلة الماضي القادم قريبا مؤخرا الأحد الاثنين"
    " الثلاثاء الأربعاء الخميس الجمعة السبت يومين شهرين أسبوعين",
    "de": "gestern heute morgen abend nacht letzten letzte nächste nächsten woche wochenende"
    " monat jahr jahren tagen seit bald kürzlich neulich montag dienstag mittwoch donnerstag"
    " freitag samstag sonnabend sonntag uhr",
    "es": "ayer hoy mañana anoche tarde noche pasado pasada próximo próxima semana mes año años"
    " hace desde pronto recientemente lunes martes miércoles jueves viernes sábado domingo",
    "fi": "eilen tänään huomenna aamu aamulla ilta illalla yöllä viime ensi viikko viikonloppu"
    " kuukausi vuosi vuotta sitten pian äskettäin maanantai tiistai keskiviikko torstai perjantai"
    " lauantai sunnuntai kello",
    "fr": "hier aujourd demain matin soir nuit dernier dernière prochain prochaine semaine mois"
    " an ans année depuis bientôt récemment lundi mardi mercredi jeudi vendredi samedi dimanche",
    "hi": "कल आज परसों सुबह शाम रात पिछले पिछली अगले अगली हफ़्ते हफ़्ता सप्ताह महीना महीने साल"
    " दिन तारीख़ बजे सोमवार मंगलवार बुधवार गुरुवार शुक्रवार शनिवार रविवार",
    "it": "ieri oggi domani mattina sera notte scorso scorsa prossimo prossima settimana mese"
    " anno anni fa presto recentemente lunedì martedì mercoledì giovedì venerdì sabato domenica",
    "ja": "昨日 今日 明日 昨夜 今夜 今朝 毎日 毎週 毎晩 先週 今週 来週 週末 先月 今月 来月 去年"
    " 昨年 今年 来年 曜日 午前 午後 最近 日前 月 年 時",
    "nl": "gisteren vandaag morgen ochtend avond nacht vorige volgende week weekend maand jaar"
    " geleden sinds binnenkort onlangs maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
    "pt": "ontem hoje amanhã manhã noite passado passada próximo próxima semana mês ano anos"
    " atrás desde breve recentemente segunda terça quarta quinta sexta sábado domingo",
    "ru": "вчера сегодня завтра утро утром вечер вечером ночь ночью прошлый прошлое следующий"
    " неделя выходные месяц год лет назад скоро недавно понедельник вторник среда четверг пятница"
    " суббота воскресенье часов",
    "tr": "dün bugün yarın sabah akşam gece geçen gelecek hafta ay yıl sene önce yakında"
    " pazartesi salı çarşamba perşembe cuma cumartesi pazar saat",
    "zh": "昨天 今天 明天 昨晚 今晚 今早 早上 晚上 上午 下午 每天 每周 上周 下周 周末 星期 上月"
    " 下月 去年 今年 明年 最近 天前 年前 号",
}
_OTHERS = sorted(_TIME.keys() - set(LATIN))


def _stems(languages: Iterable[str]) -> frozenset[str]:
    """Return the stems of the words for time and of the months."""
    texts = (f"{_TIME[language]} {_MONTHS.get(language, '')}" for language in languages)
    return frozenset(light_stem(word) for text in texts for word in text.split())


_STEMS = {language: _stems([language]) for language in LATIN if language != "en"}
_STEMS[""] = frozenset[str]().union(*_STEMS.values())
_OTHER_STEMS = _stems(_OTHERS)
_CLOCK_OR_YEAR = re.compile(r"(?<!\d)(?:\d{1,2}:\d\d|(?:19|20)\d\d)(?!\d)")
_MONTH_STEMS = {
    language: {light_stem(name): i for i, name in enumerate(names.split(), 1)}
    for language, names in _MONTHS.items()
}
_MONTH_STEMS["en"] = {name: i for i, name in enumerate(_ENGLISH_MONTHS, 1)}
_OTHER_MONTH_STEMS = {
    stem: i for language in _OTHERS for stem, i in _MONTH_STEMS.get(language, {}).items()
}

_WHEN = re.compile(
    r"\b(?:when|what (?:date|day|time|year|month)|how long|how many (?:days|weeks|months|years)"
    # German
    r"|wann|wie lange|wie spät|welche[mnrs]? (?:tag|datum|jahr|monat|woche|wochentag)|wochentag"
    # Spanish, French, Italian, Portuguese
    r"|cuándo|qué (?:día|fecha|hora|año|mes)|cuánto tiempo|cuántos (?:días|meses|años)"
    r"|quand|quelle? (?:jour|date|heure|année|mois)|combien de temps"
    r"|quando|che (?:giorno|ora|anno|mese)|quanto tempo|que (?:dia|horas|ano|mês)"
    # Dutch, Turkish, Finnish
    r"|wanneer|hoe (?:laat|lang)|ne zaman|hangi (?:gün|ay|yıl|tarih)\w*|kaç(?:ta| gün| ay| yıl)"
    r"|milloin|minä (?:\w*päivänä|vuonna)|missä kuussa|mihin aikaan|kuinka kauan"
    # Russian
    r"|когда|каком (?:году|месяце)|какого числа|какое число|како(?:й|го) (?:день|дня)|как долго"
    r"|во сколько|сколько времени)\b"
    # Arabic, Hindi
    r"|(?<!\w)(?:متى|أي (?:يوم|شهر|سنة|عام|ساعة)|كم من الوقت)(?!\w)"
    r"|(?<!\S)(?:कब|किस (?:दिन|महीने|साल|तारीख़)|कितने (?:बजे|दिन|साल))(?!\S)"
    # Chinese, Japanese
    r"|什么时候|何时|几(?:点|月|号|日|年)|哪(?:天|年|一天|个月)|星期几|多久|多长时间"
    r"|いつ(?!も)|何(?:時|日|月|年|曜日)",
    re.IGNORECASE,
)
_MAY_OR_MARCH = re.compile(
    r"\b(?:in|of|on|by|since|until|till|during|before|after|from|to|between|and|or"
    r"|last|next|this|every|early|late|mid|\d{1,2}(?:st|nd|rd|th)?)[ -](?:may|march)\b"
    r"|\b(?:may|march),? (?:of )?\d",
    re.IGNORECASE,
)
"""As months: as verbs they stand in other places."""
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)-(\d\d)-(\d\d)(?!\d)")


def tells_time(text: str, language: str, stems: Collection[str]) -> bool:
    """Whether a text says when something is.

    Args:
        text: the text.
        language: what `latin_language` finds in it.
        stems: the stems of its words.
    """
    if language == "en":
        if _ENGLISH.search(text) is not None:
            return True
        return not (text.isascii() or _OTHER_STEMS.isdisjoint(stems))
    return (
        not (_STEMS[language].isdisjoint(stems) and _OTHER_STEMS.isdisjoint(stems))
        or _CLOCK_OR_YEAR.search(text) is not None
    )


def asks_when(text: str) -> bool:
    """Whether a question asks for a time."""
    return _WHEN.search(text) is not None


def year_of(text: str) -> int | None:
    """Return the first year that a text names."""
    found = _YEAR.search(text)
    return None if found is None else int(found.group())


def month_of(text: str, language: str, words: Iterable[str]) -> int | None:
    """Return the month, 1 to 12, that a text names; None for none or several.

    Args:
        text: the text.
        language: what `latin_language` finds in it.
        words: its words.
    """
    day = _DAY.search(text)
    if day is not None and 1 <= int(day[2]) <= 12:
        return int(day[2])
    verbs = () if _MAY_OR_MARCH.search(text) or language != "en" else ("may", "march")
    named = (_month(word, language) for word in words if word not in verbs)
    months = {month for month in named if month is not None}
    months.update(_east_asian_months(text))
    return months.pop() if len(months) == 1 else None


def _month(word: str, language: str) -> int | None:
    if language == "en" and word.isascii():
        return _MONTH_STEMS["en"].get(word)
    if word in _SHORT_MONTHS:
        return _SHORT_MONTHS[word]
    stem = light_stem(word)
    return _MONTH_STEMS.get(language, {}).get(stem) or _OTHER_MONTH_STEMS.get(stem)


def _east_asian_months(text: str) -> Iterator[int]:
    for digits, han in _EAST_ASIAN_MONTH.findall(text):
        month = int(digits) if digits else _HAN_NUMBERS.index(han) + 1
        if 1 <= month <= 12:
            yield month
