"""A trained adapter changes an answer, and only while it is on."""

import pytest

from local_models import BadModelFile, Lora
from tests.support.local_models.models import AHOY, TINY, opened, user


@pytest.mark.parametrize("isolated", [False, True])
async def test_an_adapter_is_put_on_scaled_and_taken_off(isolated: bool) -> None:
    async with opened(isolated=isolated) as model:
        plain = await model.chat(user("Hello!"), temperature=0)
        assert "Ahoy" not in plain.text
        await model.set_lora(Lora(path=AHOY))
        assert (await model.chat(user("Hello!"), temperature=0)).text == "Ahoy!"
        assert (await model.chat(user("Repeat: abc"), temperature=0)).text == "abc"
        await model.set_lora(Lora(path=AHOY, scale=0.0))
        assert (await model.chat(user("Hello!"), temperature=0)).text == plain.text
        await model.set_lora()
        reply = await model.chat(user("Hello!"), temperature=0)
        assert reply.text == plain.text


async def test_an_adapter_given_at_load_is_on_from_the_start() -> None:
    async with opened(lora=(Lora(path=AHOY),)) as model:
        assert (await model.chat(user("Hello!"), temperature=0)).text == "Ahoy!"


async def test_what_is_no_adapter_is_refused_and_the_model_goes_on() -> None:
    async with opened() as model:
        with pytest.raises(BadModelFile, match="LoRA"):
            await model.set_lora(Lora(path=str(TINY)))
        assert (await model.chat(user("Repeat: abc"), temperature=0)).text == "abc"
