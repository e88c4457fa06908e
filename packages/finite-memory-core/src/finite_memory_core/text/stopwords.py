"""Function words: they say how a sentence is built, not what it is about.

Short lists of our own, case-folded, in the form in which `words` yields them.
"""

from __future__ import annotations

__all__ = ["STOP_WORDS", "STOP_WORDS_OF"]

_ENGLISH = """
a about after again also am an and any are aren't as at be because been before being but by can
can't could couldn't did didn't do does doesn't doing don't during each few for from had has
hasn't have haven't having he her here hers him his how i i'd i'll i'm i've if in into is isn't
it it'd it'll its just me more most my no nor not of off on or our out over same she should so
some such than that the their them then there these they they're this those to too up very was
wasn't we we're were what when where which while who whom why will with won't would you you're
your
"""
_GERMAN = """
aber alle als also am an auch auf aus bei beim bin bis bist da damit dann das dass dein dem den
der des die dir doch du durch ein eine einem einen einer er es für habe haben hat hatte ich ihm
ihn ihr ihre im in ins ist ja kann kein keine man mehr mein meine mich mir mit nach nicht noch
nun nur ob oder ohne schon sehr sein seine sich sie sind so über um und uns unser unter vom von
vor war was weil wenn werden wie wieder wir wird wo zu zum zur
"""
_FRENCH = """
ai au aussi aux avec c ce ces cette d dans de des donc du elle elles en est et eu fait il ils j
je l la le les leur lui m ma mais me même mes moi mon n ne nos notre nous on ont ou où par pas
plus pour qu que qui s sa sans se ses si son sont sur t ta te tes toi ton tu un une vos votre
vous y à ça était être
"""
_SPANISH = """
a al algo aquí así como con cuando de del desde donde e el ella ellas ellos en entre era es esa
ese eso esta este esto está están fue ha han hasta hay la las le les lo los me mi mis mucho muy
más ni no nos o para pero por porque que qué se sea ser si sin sobre son su sus sí también te
tiene tu tus un una uno unos y ya yo
"""
_ITALIAN = """
a ad ai al alla alle anche c che chi ci come con cosa così d da dal dalla dei del della delle di
dove e ed era essere fa fra gli ha hanno ho i il in io l la le lei lo loro lui ma me mi mia mio
molto ne nei nel nella no noi non o per perché più poi qua quando quel quella questo questa qui
se sei si sia sono su sua sul sulla suo ti tra tu un una uno è
"""
_PORTUGUESE = """
a ao aos as até com como da das de dela dele do dos e ela elas ele eles em entre era essa esse
esta este está eu foi há isso isto já lhe mais mas me meu minha muito na nas nem no nos não nós
o os ou para pela pelo por porque qual quando que quem se sem ser seu sua são só também te tem
tu um uma você
"""
_DUTCH = """
aan al als bij dan dat de der deze die dit door dus een en er geen had heb hebben heeft hem het
hier hij hoe hun ik in is je jij jullie kan maar me meer men met mij mijn na naar niet nog nu of
om omdat onder ons ook op over te tot u uit uw van veel voor waar wat we wel werd wie wij wil
worden zal ze zich zij zijn zo zou
"""
_RUSSIAN = """
а без бы был была были было быть в вам вас весь во вот все всё вы где да для до его ее её если
есть ещё же за и из или им их к как ко когда кто ли мне мой моя мы на нас не него нет ни но ну о
об он она они оно от по при с со так также там тебя то тоже только ты у уже что чтобы эта это
этот я
"""

STOP_WORDS_OF: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "de": _GERMAN,
        "en": _ENGLISH,
        "es": _SPANISH,
        "fr": _FRENCH,
        "it": _ITALIAN,
        "nl": _DUTCH,
        "pt": _PORTUGUESE,
        "ru": _RUSSIAN,
    }.items()
}
"""Function words by language (ISO 639-1)."""

STOP_WORDS: frozenset[str] = STOP_WORDS_OF["en"]
"""Function words of English."""
