"""Words that turn a sentence round, and words that settle something: negations and decisions.

Short lists of our own, case-folded, in the form in which `words` yields them. Scripts without
spaces, and Korean, whose endings carry the negation, are searched for parts of words instead.
"""

from __future__ import annotations

import re

__all__ = ["decides", "negates"]

_NEGATIONS = frozenset(
    """
    not never no none nobody nothing neither nor without cannot can't don't doesn't didn't won't
    wouldn't shouldn't couldn't isn't aren't wasn't weren't hasn't haven't hadn't mustn't except
    unless
    nicht nie niemals kein keine keinen keinem keiner nichts niemand ohne außer
    ne pas jamais aucun aucune rien personne sans sauf
    nunca ningún ninguna ninguno nada nadie sin tampoco jamás
    non mai nessun nessuno nessuna niente senza neanche
    não nem nenhum nenhuma ninguém sem jamais
    niet nooit geen niets niemand zonder behalve
    не нет никогда ни ничего никто нельзя без
    ei emme ette eivät älä koskaan mitään ilman
    değil yok hiç asla hayır olmaz
    لا لم لن ليس ليست بدون غير أبدا أبداً
    नहीं मत कभी बिना न
    לא אין בלי אף
    """.split()  # noqa: SIM905
)
_DECISIONS = frozenset(
    """
    decided decide decision agreed agree chose chosen choose settled confirmed approved rejected
    cancelled canceled postponed promised prefer prefers preferred favorite favourite must
    required allergic allergy vegetarian vegan deadline password instead
    entschieden beschlossen entscheidung vereinbart gewählt bestätigt abgesagt verschoben
    versprochen lieber muss müssen allergisch vegetarier vegetarisch vegan passwort frist
    décidé décision convenu choisi confirmé annulé reporté promis préfère doit allergique
    végétarien végétarienne
    decidido decidimos decidí decisión acordado acordamos elegido confirmado cancelado aplazado
    prometido prefiero prefiere debe alérgico alérgica vegetariano vegetariana contraseña
    deciso decisione concordato scelto confermato annullato rimandato promesso preferisco preferisce
    deve allergico allergica vegetariano vegetariana
    decidi decidiu decisão combinado escolhi escolhemos confirmado cancelado adiado prometi prefiro
    prefere alérgico alérgica senha
    besloten beslissing afgesproken gekozen bevestigd afgezegd uitgesteld beloofd liever moet
    allergisch wachtwoord
    решил решила решили решение договорились выбрал выбрала выбрали подтвердил подтвердила отменили
    перенесли обещал обещала предпочитаю должен должна аллергия пароль
    päätin päätimme päätettiin päätös sovittiin valitsin valitsimme vahvistettu peruttu siirretty
    lupasin mieluummin täytyy allerginen salasana
    karar kararlaştırdık seçtik seçtim onaylandı iptal ertelendi tercih mutlaka alerjim
    alerjisi vejetaryen parola şifre
    قررنا قررت قرر قرار اتفقنا اخترنا اخترت تأكيد إلغاء تأجيل أفضل يجب حساسية نباتي
    तय फ़ैसला फैसला निर्णय चुना चुनी पक्का रद्द वादा पसंद एलर्जी शाकाहारी
    החלטנו החלטתי סיכמנו בחרנו חייב אלרגי אלרגית סיסמה
    """.split()  # noqa: SIM905
)
_NEGATING = re.compile(
    "不|没有|沒有|没|沒|未|别|無|勿|非|ない|なか|ません|ぬ|ずに|"
    "않|못|없|아니|말아|말고|안 |ไม่|อย่า|မ.{1,12}ဘူး|មិន"
)
_DECIDING = re.compile(
    "决定|決定|商定|选择|選擇|选了|選了|确认|確認|取消|推迟|推遲|答应|必须|必須|過敏|过敏|密码|密碼|素食|"
    "決め|決まり|約束|選ん|延期|アレルギー|パスワード|好き|"
    "결정|정했|정하기|선택|확인|취소|연기|약속|알레르기|비밀번호|반드시|"
    "ตัดสินใจ|ตกลง|เลือก|ยกเลิก|เลื่อน|แพ้|ต้อง"
)


def negates(text: str, terms: frozenset[str]) -> bool:
    """Whether something in `text`, whose words are `terms`, is said not to be so."""
    return not terms.isdisjoint(_NEGATIONS) or (
        not text.isascii() and _NEGATING.search(text) is not None
    )


def decides(text: str, terms: frozenset[str]) -> bool:
    """Whether `text`, whose words are `terms`, settles something: a choice, a rule, a wish."""
    return not terms.isdisjoint(_DECISIONS) or (
        not text.isascii() and _DECIDING.search(text) is not None
    )
