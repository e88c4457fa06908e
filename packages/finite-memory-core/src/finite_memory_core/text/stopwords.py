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
aber alle als also am an auch auf aus bei beim bin bis bist da damit dann das dass dein dem den der
des die dir doch du durch ein eine einem einen einer er es für habe haben hat hatte ich ihm ihn ihr
ihre im in ins ist ja kann kein keine man mehr mein meine mich mir mit nach nicht noch nun nur ob
oder ohne schon sehr sein seine sich sie sind so um und uns unser unter vom von vor wann war warum
was weil welche welchem welchen welcher welches wem wen wenn wer werden wie wieder wieso wir wird wo
woher wohin wurde wurden zu zum zur über
"""
_FRENCH = """
ai au aussi aux avec c ce ces cette combien comment d dans de des donc du elle elles en est et eu
fait il ils j je l la le les leur lui m ma mais me mes moi mon même n ne nos notre nous on ont ou où
par pas plus pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa sans se ses si son
sont sur t ta te tes toi ton tu un une vos votre vous y à ça était être
"""
_SPANISH = """
a al algo aquí así como con cuales cuando cuál cuáles cuándo cuánta cuánto cuántos cómo de del desde
donde dónde e el ella ellas ellos en entre era es esa ese eso esta este esto está están fue ha han
hasta hay la las le les lo los me mi mis mucho muy más ni no nos o para pero por porque que quién
quiénes qué se sea ser si sin sobre son su sus sí también te tiene tu tus un una uno unos y ya yo
"""
_ITALIAN = """
a ad ai al alla alle anche c che chi ci come con cosa così d da dal dalla dei del della delle di dov
dove e ed era essere fa fra gli ha hanno ho i il in io l la le lei lo loro lui ma me mi mia mio
molto ne nei nel nella no noi non o per perché più poi qua quale quali quando quanta quanti quanto
quel quella questa questo qui se sei si sia sono su sua sul sulla suo ti tra tu un una uno è
"""
_PORTUGUESE = """
a ao aos as até com como da das de dela dele do dos e ela elas ele eles em entre era essa esse esta
este está eu foi há isso isto já lhe mais mas me meu minha muito na nas nem no nos não nós o onde os
ou para pela pelo por porque quais qual quando quanta quanto quantos que quem se sem ser seu sua são
só também te tem tu um uma você
"""
_DUTCH = """
aan al als bij dan dat de der deze die dit door dus een en er geen had heb hebben heeft hem het hier
hij hoe hoeveel hun ik in is je jij jullie kan maar me meer men met mij mijn na naar niet nog nu of
om omdat onder ons ook op over te tot u uit uw van veel voor waar waarom wanneer wat we wel welk
welke werd wie wij wil worden zal ze zich zij zijn zo zou
"""
_RUSSIAN = """
а без бы был была были было быть в вам вас весь во вот все всё вы где да для до его ее если есть ещё
её же за и из или им их к как какая какие каким каких какое какой каком какую ко когда кто куда ли
мне мой моя мы на нас не него нет ни но ну о об он она они оно от откуда по почему при с сколько со
так также там тебя то тоже только ты у уже чего чем что чтобы чём эта это этот я
"""
_TURKISH = """
acaba ama aynı bana bazı belki ben beni benim bile bir biri biz bize bizim bu buna bunu bunun burada
böyle da daha de defa diye en gibi hangi hem hep hepsi her hiç ile ise için kadar ki kim kimse mi mu
mü mı nasıl ne neden nerede nereye niye o olan olarak oldu olduğu olsa ona onlar onu onun orada peki
sana sen seni senin siz sizin sonra tüm var ve veya ya yani yine yok zaten çok çünkü önce öyle şey
şimdi şu
"""
_FINNISH = """
ei eivät ehkä eli en entä ennen et ette että hän häneen hänellä hänen ihan itse ja jo joka joku
jonka jos joten jotka jotta juuri kaikki kanssa kuin kuinka kuka kun kunnes me meidän meille mihin
mikä miksi millainen milloin minkä minulla minulle minun minut minä missä mistä miten mitä mukaan
mutta muuten myös ne nyt näin niin niitä ole olen olet oli olivat olla olleet ollut on ovat pitää
saa se sekä sen sieltä siellä sillä siinä sinne sinulla sinulle sinun sinut sinä sitten sitä tai te
tuo tämä tässä täällä vai vaan vain vielä voi
"""
_ARABIC = """
أما أن أنا أنت أنها أنه أو أي أين أيضا أيضاً إذا إلا إلى إليه إليها إن إنه إنها الآن التي الذي الى
بعد بل به بها بين تحت تلك ثم حتى حين ذلك سوى عليه عليها على عن عند عندما عندي عنها عنه غير فقط في
فيه فيها قبل قد كان كانت كل كم كما كي كيف لا لأن لك لكن لم لماذا لن له لها لو لي ليس ليست ما ماذا
متى مع معه معها من منذ منه منها نحن نعم هذا هذه هل هم هنا هناك هو هي و ولا وما يا
"""
_HINDI = """
अपना अपनी अपने अब अभी आप इस इसकी इसके इसे उन उनका उनकी उनके उन्हें उस उसका उसकी उसके उसने उसे एक और
कब कभी कर करके करता करती करना करने कहाँ का कि कितना कितनी कितने किस किसी की कुछ के कैसा कैसी कैसे को
कोई कौन क्या क्यों गई गए गया जब जहाँ जा जिस जैसे जो तक तब तुम तुम्हारा तुम्हारे तो था थी थे दिया दी
नहीं ने पर फिर बस बहुत बाद भी मत मुझे में मेरा मेरी मेरे मैं मैंने यह या ये रहा रही रहे लिए लिया ली
वह वहाँ वाला वाली वाले वे सा साथ सी से हम हर ही हुआ हुई हुए हूँ है हैं हो होगा होता होती होने
"""
_JAPANESE = """
あの あり ある いう いた いつ いて いま いる うか うに から ここ こと この ござ さい され しい した
して しま ずつ せん そう その それ たい ただ たの ため たら だけ だよ っう った って っと てい てる
です では でも とか とき とこ とは どう どこ どれ どん ない なく なっ なに なの には のか ので のに
のは のよ のを まし ます ませ また まだ まっ まで もう もの よう よね より らい られ りま れた れて
れる んだ んで んな
"""

STOP_WORDS_OF: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "ar": _ARABIC,
        "de": _GERMAN,
        "en": _ENGLISH,
        "es": _SPANISH,
        "fi": _FINNISH,
        "fr": _FRENCH,
        "hi": _HINDI,
        "it": _ITALIAN,
        "ja": _JAPANESE,
        "nl": _DUTCH,
        "pt": _PORTUGUESE,
        "ru": _RUSSIAN,
        "tr": _TURKISH,
    }.items()
}
"""Function words by language (ISO 639-1); of Japanese, pairs of kana that build sentences."""

STOP_WORDS: frozenset[str] = STOP_WORDS_OF["en"]
"""Function words of English."""
