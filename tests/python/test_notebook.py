"""Explanations in notebooks: several on one page, each by itself, in a browser."""

import html
import json
import re
import shutil
import subprocess

import pytest
from trained import classifier

import fovea

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGE = """<!doctype html><html><head><style>* { color: red; display: inline } body { background: blue }</style></head><body>
<div id="strip">mine</div><script>
var state = "mine", page = 7; const told = {};
addEventListener("message", e => {
  told[e.data.frame] = e.data;
  document.documentElement.dataset.told = JSON.stringify(told);
  document.documentElement.dataset.mine = `${state} ${page} ${document.getElementById("strip").textContent}`;
});
</script>%s</body></html>"""
# In each frame: a click on the token of the frame's own number, time for the other frames' clicks, then what is said.
INSIDE = """<script>addEventListener("load", async () => {
  const wait = ms => new Promise(done => setTimeout(done, ms)), said = () => document.getElementById("strip-info").textContent;
  while (!document.documentElement.dataset.ready) await wait(20);
  const chips = [...document.querySelectorAll("#strip .tok")];
  chips[%d].click(); await wait(500);
  const clicked = said();
  document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape", bubbles: true})); await wait(50);
  chips[3].dispatchEvent(new PointerEvent("pointerover", {bubbles: true, pointerType: "mouse"})); await wait(50);
  parent.postMessage({frame: %d, clicked, hovered: said(), colour: getComputedStyle(document.body).color,
    problems: document.documentElement.dataset.problems || ""}, "*");
});</script></body>"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return classifier(tmp_path_factory.mktemp("model"))


def frame_of(page: fovea.Explanation, number: int) -> str:
    """What a notebook shows, with a script inside that uses the page."""
    shown = page._repr_html_()
    found = re.fullmatch(r'<iframe sandbox="[^"]*" srcdoc="([^"]*)"[^>]*></iframe>', shown)
    assert found and html.unescape(found[1]) == page.html()
    assert "allow-same-origin" not in shown  # its scripts reach nothing of the notebook
    inside = page.html()
    place = inside.rindex("</body>")
    inside = inside[:place] + INSIDE % (number, number) + inside[place + len("</body>") :]
    return shown.replace(found[1], html.escape(inside, quote=True))


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine, so the notebook's page was not opened")
def test_three_explanations_stand_on_one_page(model, tmp_path):
    texts = ["the small apple of it", "some violin and one engine", 'a "quoted" <b>&amp; engine']
    frames = [frame_of(model.explain([text, "other"]), number) for number, text in enumerate(texts)]
    (tmp_path / "page.html").write_text(PAGE % "\n".join(frames), encoding="utf-8")
    done = subprocess.run(
        [
            BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-features=IsolateSandboxedIframes",  # else the virtual time is not that of the frames
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,2200", "--enable-logging=stderr", "--v=0",
            "--virtual-time-budget=20000", "--dump-dom", (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert ":CONSOLE" not in done.stderr, done.stderr[-3000:]
    attributes = dict(re.findall(r'data-(told|mine)="([^"]*)"', done.stdout[:5000]))
    assert attributes, done.stdout[:2000]
    told = json.loads(html.unescape(attributes["told"]))
    assert attributes["mine"] == "mine 7 mine"
    assert told.keys() == {"0", "1", "2"}
    for frame, (clicked, hovered) in {"0": ("the", "of"), "1": ("violin", "one"), "2": ("quoted", '"')}.items():
        found = told[frame]
        assert clicked in found["clicked"] and "attends to" in found["clicked"], found
        assert hovered in found["hovered"] and found["hovered"] != found["clicked"], found
        assert not found["problems"] and found["colour"] != "rgb(255, 0, 0)", found
