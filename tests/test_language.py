"""Language identification: a hand-made set of one story in thirty languages, short and long, and texts that break things."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.filters.language import MAX_CHARACTERS, detect

# Per language a line of a few words and two sentences, of our own making.
SAMPLES = {
    "en": (
        "A heron waits in the shallow water.",
        "The heron stood in the shallow water for most of the morning, and nobody who walked along the path seemed to notice it. When the sun came out, it opened its wings and flew slowly towards the other side of the lake.",
    ),
    "de": (
        "Ein Reiher wartet im flachen Wasser.",
        "Der Reiher stand fast den ganzen Morgen im flachen Wasser, und niemand, der den Weg entlangging, schien ihn zu bemerken. Als die Sonne herauskam, öffnete er die Flügel und flog langsam auf die andere Seite des Sees.",
    ),
    "fr": (
        "Un héron attend dans l'eau peu profonde.",
        "Le héron est resté presque toute la matinée dans l'eau peu profonde, et personne sur le chemin ne semblait le remarquer. Quand le soleil est apparu, il a ouvert ses ailes et s'est envolé lentement vers l'autre rive du lac.",
    ),
    "es": (
        "Una garza espera en el agua poco profunda.",
        "La garza estuvo casi toda la mañana en el agua poco profunda y nadie de los que pasaban por el camino parecía verla. Cuando salió el sol, abrió las alas y voló despacio hacia el otro lado del lago.",
    ),
    "it": (
        "Un airone aspetta nell'acqua bassa.",
        "L'airone è rimasto quasi tutta la mattina nell'acqua bassa e nessuno di quelli che passavano sul sentiero sembrava notarlo. Quando è uscito il sole, ha aperto le ali ed è volato lentamente verso l'altra riva del lago.",
    ),
    "pt": (
        "Uma garça espera na água rasa.",
        "A garça ficou quase toda a manhã na água rasa e ninguém que passava pelo caminho parecia notá-la. Quando o sol apareceu, ela abriu as asas e voou devagar para o outro lado do lago.",
    ),
    "nl": (
        "Een reiger wacht in het ondiepe water.",
        "De reiger stond bijna de hele ochtend in het ondiepe water en niemand die over het pad liep leek hem op te merken. Toen de zon doorkwam, opende hij zijn vleugels en vloog langzaam naar de andere kant van het meer.",
    ),
    "pl": (
        "Czapla czeka w płytkiej wodzie.",
        "Czapla stała prawie cały ranek w płytkiej wodzie i nikt z przechodzących ścieżką nie zdawał się jej zauważać. Kiedy wyszło słońce, rozłożyła skrzydła i powoli poleciała na drugą stronę jeziora.",
    ),
    "sv": (
        "En häger väntar i det grunda vattnet.",
        "Hägern stod nästan hela morgonen i det grunda vattnet, och ingen av dem som gick längs stigen tycktes lägga märke till den. När solen kom fram öppnade den vingarna och flög långsamt mot andra sidan av sjön.",
    ),
    "cs": (
        "Volavka čeká v mělké vodě.",
        "Volavka stála skoro celé ráno v mělké vodě a nikdo z těch, kdo šli po cestě, si jí zřejmě nevšiml. Když vyšlo slunce, roztáhla křídla a pomalu odletěla na druhou stranu jezera.",
    ),
    "fi": (
        "Haikara odottaa matalassa vedessä.",
        "Haikara seisoi melkein koko aamun matalassa vedessä, eikä kukaan polulla kulkeva näyttänyt huomaavan sitä. Kun aurinko tuli esiin, se avasi siipensä ja lensi hitaasti järven toiselle puolelle.",
    ),
    "hu": (
        "Egy gém várakozik a sekély vízben.",
        "A gém szinte egész délelőtt a sekély vízben állt, és az ösvényen járók közül senki sem vette észre. Amikor kisütött a nap, kitárta a szárnyát, és lassan átrepült a tó másik oldalára.",
    ),
    "tr": (
        "Bir balıkçıl sığ suda bekliyor.",
        "Balıkçıl neredeyse bütün sabah sığ suda durdu ve patikada yürüyenlerden hiç kimse onu fark etmiş gibi görünmüyordu. Güneş çıkınca kanatlarını açtı ve yavaşça gölün öbür tarafına uçtu.",
    ),
    "vi": (
        "Một con diệc đang đợi trong vùng nước nông.",
        "Con diệc đứng gần như cả buổi sáng trong vùng nước nông và dường như không ai đi trên con đường nhận ra nó. Khi mặt trời ló ra, nó dang cánh và bay chậm rãi sang phía bên kia của hồ.",
    ),
    "id": (
        "Seekor bangau menunggu di air yang dangkal.",
        "Bangau itu berdiri hampir sepanjang pagi di air yang dangkal dan tidak seorang pun yang lewat di jalan itu tampaknya melihatnya. Ketika matahari muncul, ia membuka sayapnya dan terbang perlahan ke sisi lain danau.",
    ),
    "ru": (
        "Цапля ждёт на мелководье.",
        "Цапля почти всё утро стояла на мелководье, и никто из проходивших по тропинке, казалось, её не замечал. Когда вышло солнце, она раскрыла крылья и медленно полетела на другой берег озера.",
    ),
    "uk": (
        "Чапля чекає на мілководді.",
        "Чапля майже весь ранок стояла на мілководді, і ніхто з тих, хто йшов стежкою, здавалося, її не помічав. Коли вийшло сонце, вона розкрила крила й повільно полетіла на інший берег озера.",
    ),
    "bg": (
        "Една чапла чака в плитката вода.",
        "Чаплата стоя почти цялата сутрин в плитката вода и никой от минаващите по пътеката сякаш не я забелязваше. Когато слънцето се показа, тя разпери криле и бавно полетя към другата страна на езерото.",
    ),
    "el": (
        "Ένας ερωδιός περιμένει στα ρηχά νερά.",
        "Ο ερωδιός στεκόταν σχεδόν όλο το πρωί στα ρηχά νερά και κανείς από όσους περνούσαν από το μονοπάτι δεν φαινόταν να τον προσέχει. Όταν βγήκε ο ήλιος, άνοιξε τα φτερά του και πέταξε αργά προς την άλλη πλευρά της λίμνης.",
    ),
    "zh": (
        "一只苍鹭在浅水里等待。",
        "苍鹭几乎整个上午都站在浅水里，路上经过的人似乎都没有注意到它。太阳出来以后，它张开翅膀，慢慢地飞向湖的另一边。",
    ),
    "ja": (
        "一羽のサギが浅瀬で待っている。",
        "サギは午前中ほとんどずっと浅瀬に立っていたが、小道を歩く人は誰も気づかないようだった。太陽が出ると、翼を広げてゆっくりと湖の反対側へ飛んで行った。",
    ),
    "ko": (
        "왜가리 한 마리가 얕은 물에서 기다린다.",
        "왜가리는 아침 내내 얕은 물에 서 있었지만 길을 지나는 사람들은 아무도 알아차리지 못하는 것 같았다. 해가 나오자 날개를 펴고 천천히 호수 건너편으로 날아갔다.",
    ),
    "th": (
        "นกกระสารออยู่ในน้ำตื้น",
        "นกกระสายืนอยู่ในน้ำตื้นเกือบตลอดเช้า และดูเหมือนว่าไม่มีใครที่เดินผ่านทางนั้นสังเกตเห็นมัน เมื่อดวงอาทิตย์ออกมา มันก็กางปีกและบินช้าๆ ไปยังอีกฝั่งของทะเลสาบ",
    ),
    "ar": (
        "ينتظر مالك الحزين في المياه الضحلة.",
        "وقف مالك الحزين معظم الصباح في المياه الضحلة، ولم يبد أن أحدا من المارين على الطريق قد انتبه إليه. وعندما طلعت الشمس فتح جناحيه وطار ببطء نحو الجانب الآخر من البحيرة.",
    ),
    "fa": (
        "یک حواصیل در آب کم\u200cعمق منتظر است.",
        "حواصیل تقریباً تمام صبح در آب کم\u200cعمق ایستاده بود و به نظر نمی\u200cرسید کسی از رهگذران متوجه آن شده باشد. وقتی خورشید بیرون آمد، بال\u200cهایش را باز کرد و آهسته به آن سوی دریاچه پرواز کرد.",
    ),
    "he": (
        "אנפה מחכה במים הרדודים.",
        "האנפה עמדה כמעט כל הבוקר במים הרדודים, ונראה שאיש מההולכים בשביל לא שם לב אליה. כשיצאה השמש היא פרשה את כנפיה ועפה לאט אל הצד השני של האגם.",
    ),
    "hi": (
        "एक बगुला उथले पानी में इंतज़ार कर रहा है।",
        "बगुला लगभग पूरी सुबह उथले पानी में खड़ा रहा और रास्ते से गुज़रने वाले किसी ने भी उसे नहीं देखा। जब सूरज निकला, तो उसने अपने पंख खोले और धीरे-धीरे झील के दूसरी ओर उड़ गया।",
    ),
    "bn": (
        "একটি বক অগভীর জলে অপেক্ষা করছে।",
        "বকটি প্রায় সারা সকাল অগভীর জলে দাঁড়িয়ে ছিল এবং পথ দিয়ে যাওয়া কেউ তাকে লক্ষ্য করেনি। সূর্য উঠলে সে ডানা মেলে ধীরে ধীরে হ্রদের অন্য পাড়ে উড়ে গেল।",
    ),
    "da": (
        "En hejre venter i det lave vand.",
        "Hejren stod næsten hele morgenen i det lave vand, og ingen af dem, der gik forbi på stien, så ud til at lægge mærke til den. Da solen kom frem, bredte den vingerne ud og fløj langsomt over til den anden side af søen.",
    ),
    "ro": (
        "Un stârc așteaptă în apa puțin adâncă.",
        "Stârcul a stat aproape toată dimineața în apa puțin adâncă și niciunul dintre cei care treceau pe potecă nu părea să-l observe. Când a ieșit soarele, și-a deschis aripile și a zburat încet spre cealaltă parte a lacului.",
    ),
}


@pytest.mark.parametrize("language", SAMPLES)
def test_two_sentences_are_enough_for_certainty(language: str) -> None:
    """Two sentences are detected in each language with a score that OBELICS' threshold lets through."""
    code, score = detect(SAMPLES[language][1])
    assert code == language
    assert score >= 0.8


@pytest.mark.parametrize("language", SAMPLES)
def test_a_line_of_a_few_words_is_detected(language: str) -> None:
    """A line of a few words is detected in each language, whatever the score."""
    assert detect(SAMPLES[language][0])[0] == language


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "ru", "el"])
def test_capitals_do_not_change_the_language(language: str) -> None:
    """A text all in capitals is in the same language."""
    assert detect(SAMPLES[language][1].upper())[0] == language


@pytest.mark.parametrize("text", ["图1 价格：199元 库存充足", "一只苍鹭在浅水里等待。"])
def test_chinese_without_kana_is_not_taken_for_japanese(text: str) -> None:
    """A short line of Han characters that the model takes for Japanese is Chinese, as it holds no kana."""
    assert detect(text)[0] == "zh"


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\0\0\0", "12345 678", "!!! ... ???", "\ud800\udfff", "🙂🙂", "\x1b\x07"]
)
def test_a_text_without_letters_has_no_language(text: str) -> None:
    """Nothing, control characters, digits, marks and lone surrogates give an empty code and score 0."""
    assert detect(text) == ("", 0.0)


@pytest.mark.parametrize("noise", ["\0", "\ud800", "\x07", "\n\n", "\u2028", "\ufeff", "\U0010ffff"])
def test_noise_within_a_text_does_not_change_its_language(noise: str) -> None:
    """NULs, lone surrogates, control characters and line ends between the words leave the language as it is."""
    assert detect(SAMPLES["en"][1].replace(" ", f" {noise} "))[0] == "en"


def test_only_the_first_characters_are_read() -> None:
    """What stands behind the first MAX_CHARACTERS does not count."""
    start = (SAMPLES["en"][1] + " ") * 10
    assert len(start) > MAX_CHARACTERS
    assert detect(start + SAMPLES["ru"][1] * 100) == detect(start)


@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_any_text_gives_a_code_and_a_score(text: str) -> None:
    """Any str, surrogates included, gives a code of letters or none, a score in 0..1, and twice the same."""
    code, score = detect(text)
    assert code == "" or (code.isalpha() and 2 <= len(code) <= 3)
    assert 0.0 <= score <= 1.0
    assert detect(text) == (code, score)
