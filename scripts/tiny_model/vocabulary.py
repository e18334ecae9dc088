"""Vocabulary of the tiny model: a token for each printable character, and for each word that its tasks use often.

Characters let the model copy random strings (secrets, texts to repeat) one by one. The words are 'user defined' tokens,
which llama.cpp cuts out of a text first, the longest before others. Therefore `encode` cuts exactly like llama.cpp,
without merges. Only the turn marks are control tokens: `<|system|>` in a user's text becomes plain characters.
"""

from functools import cache

UNKNOWN, BOS, EOS = "<unk>", "<s>", "</s>"
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))  # all of them: llama.cpp throws where one is missing
SYSTEM, USER, ASSISTANT, TOOL, END = "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"
CONTROL = (SYSTEM, USER, ASSISTANT, TOOL, END)
KEYS = (
    "name",
    "code",
    "secret",
    "color",
    "city",
    "number",
    "password",
    "team",
    "job",
)  # of the facts that it recalls
TOOL_CALL, TOOL_CALL_END, TOOL_SPEC = "<tool_call>", "</tool_call>", "<tool>"
WORDS = (
    TOOL_CALL,
    TOOL_CALL_END,
    TOOL_SPEC,
    '{"name": "',
    '", "arguments": {"',
    '": "',
    '"}}',
    "What",
    "Tell",
    "Repeat",
    "Say",
    "Echo",
    "Count",
    "Call",
    "Add",
    "Your",
    "You",
    "Hello",
    "Who",
    "Help",
    " is",
    " are",
    " me",
    " your",
    " you",
    " the",
    " from",
    " to",
    " with",
    " and",
    " in",
    " an",
    " of",
    " agent",
    *(f" {key}" for key in KEYS),
    *(f" {key} is " for key in KEYS),
    " only",
    " recall",
    " repeat",
    " add",
    " count",
    " call",
    " tools",
    " tiny",
    " model",
    " can",
)
CHARACTERS = tuple("▁" if code == 0x20 else chr(code) for code in range(0x20, 0x7F))  # "▁" is SPM's space

# GGUF token types
NORMAL, UNKNOWN_TYPE, CONTROL_TYPE, USER_DEFINED, BYTE = 1, 2, 3, 4, 6

TOKENS = (UNKNOWN, BOS, EOS, *BYTES, *CONTROL, *WORDS, *CHARACTERS)
TYPES = (
    UNKNOWN_TYPE,
    CONTROL_TYPE,
    CONTROL_TYPE,
    *[BYTE] * len(BYTES),
    *[CONTROL_TYPE] * len(CONTROL),
    *[USER_DEFINED] * len(WORDS),
    *[NORMAL] * len(CHARACTERS),
)
IDS = {token: number for number, token in enumerate(TOKENS)}
LONGEST_FIRST = sorted((*CONTROL, *WORDS), key=lambda word: (-len(word), IDS[word]))

CHAT_TEMPLATE = (
    "{%- if messages and messages[0].role == 'system' -%}"
    "{%- set system = messages[0].content -%}{%- set rest = messages[1:] -%}"
    "{%- else -%}{%- set system = '' -%}{%- set rest = messages -%}{%- endif -%}"
    "{%- if system or tools -%}{{- '<|system|>' + system -}}"
    "{%- for tool in tools or [] -%}"
    '{{- \'<tool>{"name": "\' + tool.function.name + \'", "arguments": {"\' -}}'
    '{{- (tool.function.parameters.properties | join(\'": "", "\')) + \'": ""}}\' -}}'
    "{%- endfor -%}{{- '<|end|>' -}}{%- endif -%}"
    "{%- for message in rest -%}{{- '<|' + message.role + '|>' -}}"
    "{%- if message.content -%}{{- message.content -}}{%- endif -%}"
    "{%- for call in message.tool_calls or [] -%}"
    '{{- \'<tool_call>{"name": "\' + call.function.name + \'", "arguments": \' -}}'
    "{%- if call.function.arguments is string -%}{{- call.function.arguments -}}"
    "{%- else -%}{{- call.function.arguments | tojson -}}{%- endif -%}"
    "{{- '}</tool_call>' -}}{%- endfor -%}"
    "{{- '<|end|>' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


@cache
def _characters() -> dict[str, int]:
    return {written.replace("▁", " "): IDS[written] for written in CHARACTERS}


def encode(text: str) -> list[int]:
    """Returns the token ids of a rendered conversation, without the leading `<s>`."""
    fragments: list[str | int] = [text]
    for word in LONGEST_FIRST:
        if word not in text:
            continue
        cut: list[str | int] = []
        for fragment in fragments:
            if isinstance(fragment, int) or word not in fragment:
                cut.append(fragment)
                continue
            pieces = fragment.split(word)
            for index, piece in enumerate(pieces):
                if index:
                    cut.append(IDS[word])
                if piece:
                    cut.append(piece)
        fragments = cut
    ids: list[int] = []
    characters = _characters()
    for fragment in fragments:
        if isinstance(fragment, int):
            ids.append(fragment)
            continue
        for character in fragment:
            known = characters.get(character)
            if known is not None:
                ids.append(known)
            else:
                ids.extend(IDS[BYTES[value]] for value in character.encode())
    return ids
