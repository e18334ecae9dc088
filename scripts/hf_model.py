"""Writes a Hugging Face model of random weights, a second's work: what it answers is gibberish, always the same.

    python -m scripts.hf_model FOLDER [--kind llama|gpt2|bert] [--seed N] [--no-template] [--layers N] [--width N]

It needs the extra `hf`. The tests and the examples of the documents load such a folder as `hf:FOLDER`.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

CONTEXT = 2048
BEGIN, END, START = "<|begin|>", "<|im_end|>", "<|im_start|>"
CHATML = (
    "{{ bos_token }}{% if tools %}<|im_start|>system\nTools: {{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = [
    "Everything that can answer is addressed in one way and called with the same few verbs.",
    "A model is just another agent: it is loaded once and serves hundreds of agents.",
    "What is the time? The quick brown fox jumps over the lazy dog, and 2 + 2 = 4.",
    "user system assistant tool Größe naïve déjà vu 東京 こんにちは 🙂 👩‍🚀",
]


def make_tokenizer(kind: str, template: bool) -> PreTrainedTokenizerFast:
    """Returns a tokenizer of bytes and a few merges, so that any text has tokens: some hold a part of a character."""
    special = ["[CLS]", "[SEP]", "[PAD]"] if kind == "bert" else [BEGIN, START, END]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    ids = {name: tokenizer.token_to_id(name) for name in special}
    if kind == "bert":
        marks = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
        tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            cls_token="[CLS]",  # noqa: S106
            sep_token="[SEP]",  # noqa: S106
            pad_token="[PAD]",  # noqa: S106
            model_max_length=CONTEXT,
        )
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, ids[BEGIN])])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        additional_special_tokens=[START],
        model_max_length=CONTEXT,
    )
    if template:
        made.chat_template = CHATML
    return made


def make_model(kind: str, tokenizer: PreTrainedTokenizerFast, seed: int, layers: int = 2, width: int = 64) -> Any:
    """Returns a model with so many layers of a width."""
    torch.manual_seed(seed)
    size = {"vocab_size": len(tokenizer), "initializer_range": 0.5}  # wide, so that no two tokens are equally likely
    if kind == "bert":
        return BertModel(
            BertConfig(
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=4,
                intermediate_size=2 * width,
                max_position_embeddings=CONTEXT,
                **size,
            )
        )
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(n_embd=width, n_layer=layers, n_head=4, n_positions=CONTEXT, **ends, **size))
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=2 * width,
            max_position_embeddings=CONTEXT,
            **ends,
            **size,
        )
    )


def write(folder: Path, kind: str = "llama", seed: int = 7, template: bool = True, **size: int) -> Path:
    """Writes a model and its tokenizer, and returns the folder."""
    tokenizer = make_tokenizer(kind, template)
    tokenizer.save_pretrained(folder)
    make_model(kind, tokenizer, seed, **size).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a Hugging Face model of random weights.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=["llama", "gpt2", "bert"], default="llama")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--no-template", dest="template", action="store_false")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    given = parser.parse_args()
    size = {"layers": given.layers, "width": given.width}
    print(f"hf:{write(given.folder, given.kind, given.seed, given.template, **size).resolve()}")
