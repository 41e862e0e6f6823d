"""Small tokenizers made on the spot, and one that behaves as a test wants."""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from aiperf.dataset.bank import COMMON

COMMON_WORDS = [word.decode()[1:] for word in COMMON.spelled.tolist()]


class Made:
    """A Tokenizer of seams around one of the tokenizers library."""

    template_tokens: int | None = None

    def __init__(self, inner: Tokenizer, name: str = "made") -> None:
        self.inner, self.name = inner, name

    def __str__(self) -> str:
        return self.name

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self.inner.encode_batch(list(texts), add_special_tokens=False)]

    def vocabulary(self) -> Sequence[str]:
        return list(self.inner.get_vocab())


def byte_level(words: Sequence[str], size: int = 4000) -> Tokenizer:
    """A BPE on bytes, trained on words as they are and after a space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, special_tokens=["<s>"])
    tokenizer.train_from_iterator([text for word in words for text in (word, f" {word}")] * 2, trainer)
    return tokenizer


def word_pieces(words: Sequence[str]) -> Tokenizer:
    """Whole words, any other is one token for all that is unknown; as BERT, it does not look at case."""
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(["[UNK]", *words])}, unk_token="[UNK]"))  # noqa: S106 - a token
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def underscored(words: Sequence[str], phrases: Sequence[tuple[str, str]] = ()) -> Tokenizer:
    """A unigram model that spells a space ▁, the one before a text too; phrases are one token for two words."""
    letters = {letter for word in words for letter in word} | {"▁"}
    pieces = [("<unk>", 0.0), *((f"▁{word}", -2.0) for word in words), *((f"▁{a}▁{b}", -3.0) for a, b in phrases)]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((letter, -9.0) for letter in sorted(letters))], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    return tokenizer


def letters() -> Tokenizer:
    """A token a letter."""
    return Tokenizer(models.BPE({letter: i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz ")}, []))
