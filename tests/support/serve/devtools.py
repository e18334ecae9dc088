"""Real browser that a test drives over its DevTools socket: open, evaluate, press keys, take pictures.

with Chromium(folder) as browser:                       # one process for a whole module
    async with browser.page(url) as page:
        await page.until("document.title === 'ready'")
"""

import asyncio
import base64
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import websockets
from websockets.asyncio.client import ClientConnection, connect

from tests.support.processes import KilledGroup
from tests.support.serve.browser import FLAGS, chromium

START = 90.0  # seconds that a browser may take to start on a busy machine
WITHIN = 30.0  # seconds for whatever a page has to do there
_SHIFT = 8
_KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, ""),
    "Escape": (27, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
    "Home": (36, ""),
    "End": (35, ""),
    " ": (32, " "),
}


class Chromium:
    """Browser process with a new profile, which ends with the block, or with this process. Its pages are opened from
    any event loop."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self._folder, self._flags = folder, flags
        self._process: subprocess.Popen[bytes] | None = None
        self._ends = ExitStack()
        self._url = ""

    def __enter__(self) -> Self:
        program, folder = chromium(), self._folder
        assert program is not None
        folder.mkdir(parents=True, exist_ok=True)
        profile = folder / "profile"
        homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), str(folder))
        words = [program, *FLAGS, *self._flags, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        with (folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*words, "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **homes},
            )
        self._ends.callback(self._process.wait)
        self._ends.enter_context(KilledGroup(self._process.pid))  # it is many processes, and one group
        try:
            self._await_start(profile)
        except BaseException:
            self._ends.close()
            raise
        return self

    def _await_start(self, profile: Path) -> None:
        """Wait until the browser takes orders."""
        assert self._process is not None
        ends = time.monotonic() + START
        told = profile / "DevToolsActivePort"
        while not told.exists() or "\n" not in told.read_text():
            assert time.monotonic() < ends, "the browser did not start"
            log = self._folder / "chromium.log"
            assert self._process.poll() is None, log.read_text(errors="replace")[-2000:]
            time.sleep(0.05)
        port, path = told.read_text().split("\n")[:2]
        self._url = f"ws://127.0.0.1:{port}{path}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    @property
    def pid(self) -> int:
        """The process that started all others of the browser."""
        assert self._process is not None
        return self._process.pid

    @asynccontextmanager
    async def page(self, url: str, width: int = 1280, height: int = 800, **media: str) -> AsyncIterator["Page"]:
        """A page in a context of its own, without cookies of others. `media`: features, as prefers_color_scheme."""
        async with connect(self._url, max_size=None) as socket:
            page = Page(socket)
            reading = asyncio.create_task(page.read())
            try:
                await page.open(url, width, height, {name.replace("_", "-"): value for name, value in media.items()})
                yield page
            finally:
                await page.close()
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


class Page:
    """One tab. `complaints` has errors of scripts, and what the content policy refused."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._session = self._context = ""
        self.complaints: list[str] = []
        self.dialogs: list[str] = []

    async def read(self) -> None:
        """Take what the browser says, until the socket ends."""
        try:
            async for text in self._socket:
                message = json.loads(text)
                if "id" in message:
                    asked = self._asked.pop(message["id"], None)
                    if asked is not None and not asked.done():
                        asked.set_result(message)
                else:
                    self._told(message["method"], message["params"])
        except websockets.ConnectionClosed:
            pass

    def _told(self, method: str, given: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = given["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.complaints.append(given["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(given["message"])

    async def send(self, method: str, _session: bool = True, **given: Any) -> Any:
        """Give the browser an order, and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": given}
        if _session:
            message["sessionId"] = self._session
        self._asked[self._number] = asked = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps(message))
        answer = await asyncio.wait_for(asked, WITHIN)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    async def open(self, url: str, width: int, height: int, media: dict[str, str]) -> None:
        """Open the tab, and show an address."""
        self._context = (await self.send("Target.createBrowserContext", False))["browserContextId"]
        target = await self.send("Target.createTarget", False, url="about:blank", browserContextId=self._context)
        attached = await self.send("Target.attachToTarget", False, targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        await self.size(width, height)
        await self.send("Emulation.setFocusEmulationEnabled", enabled=True)
        features = [{"name": name, "value": value} for name, value in media.items()]
        await self.send("Emulation.setEmulatedMedia", features=features)
        await self.send("Page.navigate", url=url)

    async def close(self) -> None:
        """Close the tab and forget its cookies."""
        if self._context:
            await self.send("Target.disposeBrowserContext", False, browserContextId=self._context)

    async def size(self, width: int, height: int) -> None:
        """Make the window as large."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def evaluate(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        found = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, script: str, within: float = WITHIN) -> Any:
        """Wait until an expression is true, and return its value; it may throw while its elements are not there."""
        ends = time.monotonic() + within
        while True:
            found = await self.evaluate(
                f"(() => {{ try {{ const found = ({script}); return found instanceof Node ? true : found; }}"
                " catch (error) { return false; } })()"
            )
            if found:
                return found
            if time.monotonic() > ends:
                shown = await self.evaluate("document.body.innerText")
                raise AssertionError(f"{script} did not come true; {self.complaints}; the page says: {shown[:2000]}")
            await asyncio.sleep(0.05)

    async def text(self, selector: str = "body") -> str:
        """The text of the first element, as it is seen."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def press(self, *keys: str, shift: bool = False) -> None:
        """Press keys, one after another; all of them with Shift, where that is held."""
        for key in keys:
            code, text = _KEYS[key] if key in _KEYS else (ord(key.upper()), key)
            given: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            given["modifiers"] = _SHIFT if shift else 0
            down: dict[str, Any] = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
            await self.send("Input.dispatchKeyEvent", **down, **given)
            await self.send("Input.dispatchKeyEvent", type="keyUp", **given)

    async def type(self, text: str) -> None:
        """Write a text where the focus is."""
        await self.send("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """Click on the middle of the first element."""
        name = json.dumps(selector)
        await self.until(f"!!document.querySelector({name})")
        place = await self.evaluate(
            f"(() => {{ const found = document.querySelector({name}); found.scrollIntoView({{block: 'center'}});"
            "const box = found.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        await self.click_at(*place)

    async def click_at(self, x: float, y: float) -> None:
        """Click on a place of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def picture(self) -> bytes:
        """What the window shows, as PNG."""
        found = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(found["data"])
