"""Folder of a Hugging Face model: what is found, what is refused before any library reads it, and what it says then."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_models import BadModelFile, BadOption, EngineMissing, LoadOptions, LocalModel, Lora, ModelNotFound, ModelPool
from local_models.prompts.templates import ChatTemplate
from local_models.transformers import installed
from local_models.transformers.address import hub_name
from local_models.transformers.download import find_or_download
from local_models.transformers.folder import check_folder, find_here
from local_models.transformers.loading import needed_bytes, prepared_folder
from local_models.transformers.options import check_options, shape_of
from local_models.transformers.templates import PLAIN, template_of
from tests.support.local_models.safetensors_files import model_folder, safetensors, tensor


def test_a_folder_says_what_its_model_is(tmp_path: Path) -> None:
    summary = check_folder(model_folder(tmp_path / "brain"))
    assert (summary.name, summary.architecture, summary.parameters, summary.quantization) == (
        "brain",
        "llama",
        10,
        "F32",
    )
    assert (summary.context, summary.layers, summary.heads, summary.vocabulary) == (2048, 2, 4, 400)
    assert summary.kv_bytes_per_token == 2 * 2 * 2 * 16 * 4  # keys and values, layers, heads, width, bytes
    assert summary.file_bytes == (tmp_path / "brain" / "model.safetensors").stat().st_size


def test_several_files_are_one_model(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model-00002-of-00002.safetensors").write_bytes(safetensors({"c": tensor(5)}, bytes(20)))
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names | {"c": "model-00002-of-00002.safetensors"}}))
    assert check_folder(folder).parameters == 15
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BadModelFile, match=r"model-00002-of-00002\.safetensors is missing"):
        check_folder(folder)
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(BadModelFile, match="not of this model"):
        check_folder(folder)
    index.write_text(json.dumps({"weight_map": {"a": "pytorch_model-00001.bin"}}))
    with pytest.raises(BadModelFile, match="pickle"):
        check_folder(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "weights.pkl", "model.ckpt"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path)
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(BadModelFile, match=r"can run any code.*save_pretrained"):
        check_folder(folder)
    with pytest.raises(BadModelFile, match="can run any code"):
        find_here(f"hf:{folder / name}")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (b"", "longer than the file"),
        (b"\xff" * 64, "longer than the file"),
        ((10).to_bytes(8, "little") + b"no json at all", "not JSON"),
        (safetensors([], b""), "no object"),
        (safetensors({"a": {"dtype": "F32"}}, b""), "cannot be read"),
        (safetensors({"a": tensor(2, 3)}, bytes(20)), "its header says"),
        (safetensors({"a": tensor(2, 3)}, bytes(28)), "its header says"),
        (safetensors({"a": tensor(2, 3, size=3)}, bytes(18)), "not that of its data"),
        (safetensors({"a": tensor(2, -3)}, bytes(24)), "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, weights: bytes, said: str) -> None:
    with pytest.raises(BadModelFile, match=said):
        check_folder(model_folder(tmp_path, weights))


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 200))
def test_no_bytes_of_a_file_raise_another_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, cut: int
) -> None:
    sound = safetensors({"a": tensor(2, 3), "b": tensor(4, at=24)}, bytes(40))
    folder = tmp_path_factory.mktemp("noise")
    try:
        check_folder(model_folder(folder, (sound[:at] + noise + sound[at:])[: len(sound) + len(noise) - cut]))
    except BadModelFile:
        pass


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadModelFile, match=r"has no config\.json.*save_pretrained"):
        check_folder(tmp_path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(BadModelFile, match="cannot be read"):
        check_folder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadModelFile, match=r"has no model\.safetensors"):
        check_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("gpt2", ("gpt2", "main")),
        ("Qwen/Qwen3-0.6B", ("Qwen/Qwen3-0.6B", "main")),
        ("Qwen/Qwen3-0.6B@v1.0", ("Qwen/Qwen3-0.6B", "v1.0")),
        ("a/b/c", None),
        ("./a", None),
        ("/a/b", None),
        ("~/a", None),
        ("a/..", None),
    ],
)
def test_a_name_of_the_hub_is_told_from_a_path(text: str, named: tuple[str, str] | None) -> None:
    assert hub_name(text) == named


def test_a_name_is_found_in_the_cache_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--owner--brain"
    folder = model_folder(repository / "snapshots" / "abc")
    assert find_here("hf:owner/brain@abc") == folder
    assert find_here("hf:owner/brain") is None
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    assert find_here("hf:owner/brain") == folder
    (folder / "config.json").unlink()  # a download that did not end
    with pytest.raises(ModelNotFound, match=r"hf download owner/brain.*network=True"):
        find_or_download("hf:owner/brain", LoadOptions())


def test_a_path_that_is_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no such folder"):
        find_here(f"hf:{tmp_path / 'none'}")
    file = model_folder(tmp_path) / "model.safetensors"
    with pytest.raises(BadModelFile, match=f"give its folder: hf:{tmp_path}"):
        find_here(f"hf:{file}")


def test_the_template_is_that_of_the_folder_or_the_plain_one(tmp_path: Path) -> None:
    assert template_of(tmp_path) == PLAIN
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"chat_template": "one"}))
    assert template_of(tmp_path) == "one"
    config.write_text(
        json.dumps({"chat_template": [{"name": "rag", "template": "no"}, {"name": "default", "template": "two"}]})
    )
    assert template_of(tmp_path) == "two"
    (tmp_path / "chat_template.jinja").write_text("a {%- generation %}three{% endgeneration -%} b")
    assert template_of(tmp_path) == "a {%- if true %}three{% endif -%} b"


def test_the_plain_template_has_a_line_for_each_message_and_shows_tools() -> None:
    template = ChatTemplate(PLAIN)
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    said = [
        {"role": "user", "content": " Hi "},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "2"},
    ]
    asked = (
        """user:  Hi \nassistant: <tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>\ntool: 2\nassistant:"""
    )
    assert template.render(said) == [asked]
    tools = [{"type": "function", "function": {"name": "f"}}]
    (text,) = template.render(said, tools)
    assert text.startswith('system: You may call these tools:\n{"name": "f"}\nTo call one,')
    assert text.endswith(f"and nothing else.\n{asked}")


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("lora", LoadOptions(lora=(Lora(path="x"),))),
        ("kv_type", LoadOptions(kv_type="q8_0")),
        ("layout", LoadOptions(layout="split")),
        ("pool", LoadOptions(pool=512, layout="auto")),
        ("gpu_layers", LoadOptions(gpu_layers=3)),
        ("device", LoadOptions(device="gpu")),
        ("device", LoadOptions(device="cuda:")),
    ],
)
def test_what_cannot_be_done_is_named(field: str, options: LoadOptions) -> None:
    with pytest.raises(BadOption) as caught:
        check_options(options)
    assert caught.value.field == field


def test_the_context_is_one_that_the_model_was_made_for(tmp_path: Path) -> None:
    summary = check_folder(model_folder(tmp_path))
    assert shape_of(summary, LoadOptions()).context == 2048
    assert shape_of(summary, LoadOptions(context=100, sequences=3)).context == 100
    with pytest.raises(BadOption, match="2048"):
        shape_of(summary, LoadOptions(context=4096))
    needed = needed_bytes(f"hf:{tmp_path}", LoadOptions(context=100, sequences=3))
    assert needed == summary.file_bytes + 300 * summary.kv_bytes_per_token


async def test_a_model_that_does_not_fit_the_budget_is_not_loaded(tmp_path: Path) -> None:
    from local_models import OutOfMemory

    async with ModelPool(1000) as pool:
        with pytest.raises(OutOfMemory, match="needs"):
            await pool.lease(f"hf:{model_folder(tmp_path)}")


async def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(EngineMissing, match=r"torch.*three-mode\[hf\]"):
        await LocalModel.load(f"hf:{model_folder(tmp_path)}")


async def test_a_device_is_for_these_models_only() -> None:
    with pytest.raises(BadOption, match="gpu_layers"):
        await LocalModel.load("tiny", LoadOptions(device="cpu"))


def test_the_program_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from local_models import LoadOptions; from local_models.transformers import loading;"
        f"loading.needed_bytes('hf:{model_folder(tmp_path)}', LoadOptions());"
        "print([name for name in ('torch', 'transformers', 'numpy', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_checked_before_a_worker_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda name: object())
    folder = model_folder(tmp_path)
    assert prepared_folder(f"hf:{folder}", LoadOptions()) == folder
    with pytest.raises(BadOption):
        prepared_folder(f"hf:{folder}", LoadOptions(context=1 << 20))
