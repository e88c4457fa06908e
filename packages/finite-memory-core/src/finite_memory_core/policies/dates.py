"""Words that say when: a turn that holds one tells what happened at some time.

Short lists of our own, case-folded, in the form in which `words` yields them; of Chinese and
Japanese those of two characters. Words that are mostly something else ("may", "fall") are out.
"""

from __future__ import annotations

__all__ = ["CALENDAR_WORDS", "TIME_WORDS"]

_ENGLISH = """
yesterday today tonight tomorrow ago last next since recently morning afternoon evening night day
days week weeks weekend month months year years monday tuesday wednesday thursday friday saturday
sunday january february march april june july august september october november december spring
summer autumn winter
"""
_GERMAN = """
gestern heute morgen abend nacht tag tage tagen woche wochen wochenende monat monate monaten jahr
jahre jahren letzte letzten nächste nächsten seit kürzlich montag dienstag mittwoch donnerstag
freitag samstag sonntag januar februar märz april mai juni juli august september oktober november
dezember frühling sommer herbst winter
"""
_FRENCH = """
hier demain matin soir nuit jour jours semaine semaines mois année années dernier dernière prochain
prochaine depuis récemment lundi mardi mercredi jeudi vendredi samedi dimanche janvier février mars
avril juin juillet août septembre octobre novembre décembre printemps été automne hiver
"""
_SPANISH = """
ayer hoy mañana anoche noche día días semana semanas mes meses año años pasado pasada próximo
próxima desde lunes martes miércoles jueves viernes sábado domingo enero febrero marzo abril mayo
junio julio agosto septiembre octubre noviembre diciembre primavera verano otoño invierno
"""
_ITALIAN = """
ieri oggi domani stamattina stasera sera notte giorno giorni settimana settimane mese mesi anno anni
scorso scorsa prossimo prossima recentemente lunedì martedì mercoledì giovedì venerdì sabato
domenica gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre
dicembre primavera estate autunno inverno
"""
_PORTUGUESE = """
ontem hoje amanhã manhã noite dia dias semana semanas mês meses ano anos passado passada próximo
próxima desde feira sábado domingo janeiro fevereiro março abril maio junho julho agosto setembro
outubro novembro dezembro primavera verão outono inverno
"""
_DUTCH = """
gisteren vandaag morgen avond nacht dag dagen week weken weekend maand maanden jaar jaren vorige
volgende sinds onlangs maandag dinsdag woensdag donderdag vrijdag zaterdag zondag januari februari
maart april mei juni juli augustus september oktober november december lente zomer herfst winter
"""
_RUSSIAN = """
вчера сегодня завтра утром вечером ночью день дня дней неделя неделю недели недель месяц месяца
месяцев год года году лет назад прошлой прошлом следующей следующем недавно понедельник вторник
среду четверг пятницу субботу воскресенье января февраля марта апреля мая июня июля августа
сентября октября ноября декабря весной летом осенью зимой
"""
_ARABIC = "أمس اليوم غدا غداً صباح مساء ليلة يوم أيام أسبوع شهر أشهر سنة عام الماضي القادم منذ"
_HINDI = """
कल आज परसों सुबह शाम रात दिन सप्ताह हफ्ते महीने साल पिछले अगले सोमवार मंगलवार शुक्रवार रविवार
"""
_KOREAN = """
어제 오늘 내일 모레 아침 저녁 지난주 다음주 작년 올해 내년 지난달 월요일 화요일 수요일 목요일 금요일
"""
_HAN = """
昨天 今天 明天 后天 後天 前天 昨晚 今晚 早上 晚上 上周 下周 上週 下週 本周 周末 週末 星期 上月 下月
去年 今年 明年 昨日 今日 明日 先週 今週 来週 先月 今月 来月 来年 曜日 午前 午後 月份 小时 年前
"""

TIME_WORDS: frozenset[str] = frozenset(
    " ".join(
        (
            *(_ENGLISH, _GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE, _DUTCH),
            *(_RUSSIAN, _ARABIC, _HINDI, _KOREAN, _HAN),
        )
    ).split()
)
"""Words of time in thirteen languages."""

_FIRST_OF_CALENDAR = (
    "monday montag lundi lunes lunedì sábado maandag понедельник सोमवार 월요일".split()  # noqa: SIM905
)


def _calendar(listed: str) -> list[str]:
    """Return the weekdays, months and seasons of a list, which stand at its end."""
    found = listed.split()
    return next((found[found.index(w) :] for w in _FIRST_OF_CALENDAR if w in found), [])


CALENDAR_WORDS: frozenset[str] = frozenset(
    word
    for listed in (
        *(_ENGLISH, _GERMAN, _FRENCH, _ITALIAN, _PORTUGUESE, _DUTCH, _RUSSIAN, _HINDI, _KOREAN),
        _SPANISH[_SPANISH.index("lunes") :],
    )
    for word in _calendar(listed)
) - {"été"}
"""Those of them that name a day or a month: weekdays, months, seasons. "Été" also means "been"."""
