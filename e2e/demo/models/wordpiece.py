"""BERT's uncased WordPiece tokenizer: words and punctuation, then the longest known pieces from the left."""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from e2e.demo.models.graph import Array

_LONGEST_WORD = 100


class WordPiece:
    """Turns text into the identifiers of a vocabulary."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._ids = {piece: position for position, piece in enumerate(vocabulary)}
        self._start, self._end, self._unknown = (self._ids[name] for name in ("[CLS]", "[SEP]", "[UNK]"))

    @staticmethod
    def load(path: Path) -> "WordPiece":
        """Read a ``vocab.txt``: one piece a line."""
        return WordPiece(path.read_text(encoding="utf-8").splitlines())

    def encode(self, text: str) -> list[int]:
        """Identifiers of a text, between those of its start and its end."""
        return [self._start, *(piece for word in _words(text) for piece in self._pieces(word)), self._end]

    def batch(self, texts: Sequence[str], length: int) -> tuple[Array, Array]:
        """Identifiers and mask of texts, cut or padded to `length`.

        Returns:
            Two ``int64`` arrays of shape ``(texts, length)``.
        """
        ids = np.zeros((len(texts), length), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(texts):
            found = self.encode(text)
            kept = found if len(found) <= length else [*found[: length - 1], self._end]
            ids[row, : len(kept)], mask[row, : len(kept)] = kept, 1
        return ids, mask

    def _pieces(self, word: str) -> list[int]:
        """The longest known piece from the left, again and again; a word that does not work out is unknown."""
        found: list[int] = []
        start = 0
        while start < len(word) <= _LONGEST_WORD:
            mark = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if mark + word[start:end] in self._ids), None)
            if end is None:
                return [self._unknown]
            found.append(self._ids[mark + word[start:end]])
            start = end
        return found or [self._unknown]


def _words(text: str) -> Iterator[str]:
    """Words in lower case without accents; every punctuation mark and ideograph is a word of its own."""
    clean = "".join(_cleaned(char) for char in text)
    plain = "".join(char for char in unicodedata.normalize("NFD", clean.lower()) if unicodedata.category(char) != "Mn")
    for word in plain.split():
        current = ""
        for char in word:
            if _stands_alone(char):
                yield from filter(None, (current, char))
                current = ""
            else:
                current += char
        if current:
            yield current


def _cleaned(char: str) -> str:
    """`char`, a blank for any white space, nothing for what no reader sees."""
    if char in "\t\n\r" or unicodedata.category(char) == "Zs":
        return " "
    return "" if char in "\0\ufffd" or unicodedata.category(char).startswith("C") else char


def _stands_alone(char: str) -> bool:
    ascii_mark = "!" <= char <= "/" or ":" <= char <= "@" or "[" <= char <= "`" or "{" <= char <= "~"
    return ascii_mark or unicodedata.category(char).startswith("P") or "\u4e00" <= char <= "\u9fff"
