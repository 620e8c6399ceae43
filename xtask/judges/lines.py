"""Mixed text for the judges of tokenizers: words of many scripts, code, emoji, white space, accents in both
forms, and single characters of all common blocks. Always the same lines."""
import random

LINES = 10_000
WORDS = (
    "the of Harvest NEIGHBOUR's fn main() { let x = 42; } self.x[i] += 1; </div> a_b snake_case camelCase #define "
    "naïve Ünïcödé café cafe\u0301 E\u0301cole Å A\u030a ﬁne ﬀ Straße İstanbul ı ΣΊΣΥΦΟΣ ὀδυσσεύς Привет ёлка й "
    "漢字 かな カナ が か\u3099 한국어 각 ไทย ภาษา हिन्दी বাংলা العربية مُحَمَّد עִבְרִית ქართული Հայերեն "
    "🙂 🚀 👩‍👩‍👧 🇫🇮 👍🏽 ✈️ don't we'll I'd 1234567 3.14 1,000 ½ ² Ⅷ € £ ¥ … — – ‘q’ “q” «q» ¿ ¡ !? @#$%^&*() "
    "https://example.org/a?b=c&d=e mail@example.org \u200b zero\u200dwidth \ufeff so\u00adft \u0007 \u2028 \u3000 "
    "antidisestablishmentarianism " + "x" * 120 + " " + "é" * 101
).split(" ")
SPACES = [" ", " ", " ", "  ", "", "\t", "\u00a0", " \t "]
# Basic Latin to Arabic, Indic, Thai, Georgian, Latin additions, punctuation, symbols, kana, CJK, Hangul, forms, emoji;
# without U+061D, which is younger than Unicode 8, whose tables the `tokenizers` package has.
BLOCKS = [(0x20, 0x52F), (0x591, 0x61C), (0x61E, 0x6FF), (0x900, 0x97F), (0xE01, 0xE3A), (0x10D0, 0x10F0), (0x1E00, 0x1FBC),
          (0x2010, 0x205E), (0x20A0, 0x20BD), (0x2190, 0x23FA), (0x3041, 0x30FF), (0x4E00, 0x9FCC), (0xAC00, 0xD7A3),
          (0xF900, 0xFA6D), (0xFF01, 0xFFBE), (0x1F600, 0x1F642), (0x20000, 0x2A6D6)]


def characters(rng):
    return "".join(chr(rng.randint(*rng.choice(BLOCKS))) for _ in range(rng.randint(1, 8)))


def lines():
    rng = random.Random(1)
    piece = lambda: characters(rng) if rng.random() < 0.2 else rng.choice(WORDS)
    out = []
    while len(out) < LINES:
        line = "".join(piece() + rng.choice(SPACES) for _ in range(rng.randint(1, 12)))
        line = "".join(c for c in line if c not in "\r\n\\\x85")
        if line.strip():
            out.append(line)
    return out
