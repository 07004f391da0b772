#!/usr/bin/env python3
"""Opens the page of `ddpm serve` in a real browser, headless, and uses it as a person does. With the keyboard alone:
samples, compares, uses a job's settings again, interpolates, redraws a part of an uploaded picture, watches the run, logs
in with a token. With the mouse: paints a region over a picture of the history. Takes screenshots.

    try_serve.py DDPM_PROGRAM [--run RUN] [--out FOLDER]

    --run   a run to show (default: tests/tiny.toml is trained first, with colours and classes)
    --out   folder for the screenshots (default: build/serve)

Exit status 1 if a step fails, the page is wider than the screen, or a script or the security policy reports an error;
77 (skipped) without Debian's chromium, chromium-driver and python3-selenium.
"""

import argparse
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from browser import DIFFERENCES, Person, png_of, start_browser

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKEN = "a-token-of-the-trial"
started = []  # servers, which must not outlive a failed step


def start_server(program, run, *flags, token=None):
    """The process and its address."""
    environment = dict(os.environ, **({"DDPM_SERVE_TOKEN": token} if token else {}))
    server = subprocess.Popen([program, "serve", run, "--port", "0", *flags], stdout=subprocess.PIPE, text=True,
                              env=environment)
    started.append(server)
    url = server.stdout.readline().strip()
    if not url.startswith("http://"):
        sys.exit(f"ddpm serve printed no address: {url!r}")
    return server, url


def stop_server(server):
    server.send_signal(signal.SIGINT)
    status = server.wait(timeout=30)
    if status != 0:
        sys.exit(f"ddpm serve ended with status {status} after Ctrl-C")


DONE = "[...document.querySelectorAll('#jobs > .job')].length >= {jobs} && !document.querySelector('#jobs .waiting') && " \
       "[...document.querySelectorAll('#jobs .status')].every(s => s.textContent.startsWith('done'))"


NEWEST = "document.querySelector('#jobs > .job')"  # the job on top
PICTURES = f"[...{NEWEST}.querySelectorAll('.tile img')].filter(i => i.complete && i.naturalWidth > 0)"


def sample_and_compare(person):
    from selenium.webdriver.common.keys import Keys
    person.wait_for("!document.getElementById('sample').hidden", "the form")
    person.look("1-begin")
    person.tab_to("e.id === 'method'")
    person.press("ddim")
    person.tab_to("e.id === 'num'")
    person.retype("3")
    person.tab_to("e.id === 'go'")
    person.press(Keys.ENTER)
    person.wait_for(DONE.format(jobs=1) + f" && {PICTURES}.length === 3", "three pictures")
    person.look("2-sampled")
    person.tab_to("e.id === 'compare'")
    person.press(Keys.ENTER)
    person.wait_for(DONE.format(jobs=2), "the comparison")
    person.look("3-compared")
    person.tab_to("e.textContent === 'Use these settings'")
    person.press(Keys.ENTER)
    if not person.ask("document.activeElement.id === 'go'"):
        sys.exit("'Use these settings' does not lead to the button Sample")


def refuse_wrong_steps(person):
    from selenium.webdriver.common.keys import Keys
    person.ask("document.getElementById('steps-list').focus()")
    person.retype("1000000")
    person.tab_to("e.id === 'compare'")
    person.press(Keys.ENTER)
    person.wait_for("!document.getElementById('problem').hidden", "the message about too many steps")
    print("message:", person.ask("document.getElementById('problem').textContent"))


def choose_task(person, name):
    """By the arrows within the radio buttons."""
    from selenium.webdriver.common.keys import Keys
    person.ask("document.querySelector('input[name=task]:checked').focus()")
    for _ in range(3):
        if person.ask("document.activeElement.value") == name:
            return
        person.press(Keys.ARROW_RIGHT)
    sys.exit(f"no arrow leads to the task {name}")


def view_tile(person, number):
    """Opens picture `number` of the lowest job, which was the first."""
    from selenium.webdriver.common.keys import Keys
    person.ask(f"[...document.querySelectorAll('#jobs > .job')].at(-1).querySelectorAll('.tile')[{number}].focus()")
    person.press(Keys.ENTER)
    person.wait_for("document.getElementById('viewer').open", "the large picture")


def interpolate(person, jobs):
    from selenium.webdriver.common.keys import Keys
    person.wait_for("document.querySelectorAll('#jobs .tile').length === 15", "the pictures of the history")
    view_tile(person, 0)
    person.look("6-viewer")
    person.enter_at("e.id === 'viewer-from'")
    view_tile(person, 1)
    person.press(Keys.ESCAPE)
    person.expect("!document.getElementById('viewer').open", "Escape closes the large picture")
    view_tile(person, 2)
    person.enter_at("e.id === 'viewer-to'")
    person.expect("document.getElementById('to-image').value === '2'", "the end of the way is image 2")
    person.ask("document.getElementById('frames').focus()")
    person.retype("5")
    person.enter_at("e.id === 'go'")
    person.wait_for(DONE.format(jobs=jobs) + f" && {PICTURES}.length === 5", "five pictures from one image to another")
    person.look("7-interpolated")


def expect_redrawn(person, what):
    """The newest job has the given picture outside its mask, exactly, and something else within."""
    urls = [person.ask(f"{NEWEST}.querySelector('{place}').src")
            for place in (".tile img", ".given figure:nth-child(1) img", ".given figure:nth-child(2) img")]
    found = person.driver.execute_async_script(DIFFERENCES, *urls)
    print(what, found)
    if found["outside"] != 0 or found["within"] * 2 < found["masked"] or found["masked"] == 0:
        sys.exit(f"{what}: {found}")
    return found["masked"]


def inpaint_by_keys(person, folder, jobs):
    from selenium.webdriver.common.keys import Keys
    size = person.ask("network.image.width")
    photo = folder / "photo.png"
    photo.write_bytes(png_of(size * 6, size * 4, lambda x, y: (255 * x // (size * 6), 255 * y // (size * 4), (x // 12 + y // 12) % 2 * 200)))
    choose_task(person, "inpaint")
    person.expect("document.getElementById('method').selectedOptions[0].disabled === false", "the method fits several rounds")
    person.enter_at("e.id === 'go'")
    person.wait_for("document.getElementById('problem').textContent.startsWith('Choose a picture')", "the message that there is no picture")
    person.upload("picture-file", photo)
    person.wait_for("!document.getElementById('region-part').hidden", "the picture to paint on")
    person.expect(f"document.getElementById('picture-note').textContent.includes('scaled to {size} x {size}')", "the page says how it was scaled")
    count = "masked()"
    person.ask("document.getElementById('picture-file').focus()")
    person.tab_to("e.id === 'region'")
    person.press(Keys.SPACE)
    dab = person.ask(count)
    person.hold(Keys.SHIFT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    person.expect(f"{dab} > 0 && {count} > {dab}", "Space paints, and arrows with Shift")
    person.press("+", Keys.ARROW_LEFT, Keys.DELETE)
    person.hold(Keys.CONTROL, "zzzz")
    person.expect(f"{count} === {dab}", "Ctrl-Z undoes erasing and three moves")
    person.look("8-brush-by-keys")
    person.enter_at("e.id === 'brush-clear'")
    person.tab_to("e.id === 'rectangle-left'")
    for text in ("2", "3", "6", "5"):
        person.retype(text)
        person.press(Keys.TAB)
    person.enter_at("e.id === 'rectangle-add'")
    person.expect(f"{count} === 30", "a rectangle of 6 x 5 pixels")
    person.ask("document.getElementById('brush-undo').focus()")
    person.enter_at("e.id === 'brush-invert'")
    person.expect(f"{count} === {size * size - 30}", "Invert")
    person.press(Keys.ENTER)
    person.tab_to("e.id === 'rounds'")
    person.retype("3")
    person.enter_at("e.id === 'go'")
    person.wait_for(DONE.format(jobs=jobs) + f" && {PICTURES}.length === 4", "the redrawn pictures")
    if expect_redrawn(person, "by keys:") != 30:
        sys.exit("the mask is not the rectangle")
    person.look("9-inpainted-by-keys")


def inpaint_by_mouse(person, jobs):
    view_tile(person, 1)
    person.driver.find_element("id", "viewer-inpaint").click()
    person.wait_for("!document.getElementById('region-part').hidden && masked() === 0", "the picture of the history to paint on")
    person.drag("region", (0.2, 0.3), (0.5, 0.35), (0.8, 0.7))
    stroke = person.ask("masked()")
    person.driver.find_element("id", "brush-erase").click()
    person.drag("region", (0.7, 0.5), (0.9, 0.8))
    erased = person.ask("masked()")
    if not 0 < erased < stroke:
        sys.exit(f"the mouse painted {stroke} pixels, and {erased} were left by the eraser")
    person.driver.find_element("id", "brush-undo").click()
    person.expect(f"masked() === {stroke}", "Undo brings back what was erased")
    person.look("10-brush-by-mouse")
    person.driver.find_element("id", "go").click()
    person.wait_for(DONE.format(jobs=jobs) + f" && {PICTURES}.length === 4", "the redrawn pictures")
    if expect_redrawn(person, "by mouse:") != stroke:
        sys.exit("the mask is not what was painted")
    person.look("11-inpainted-by-mouse")
    # The settings of that job again, with its picture and its mask.
    person.ask("document.getElementById('brush-clear').click()")
    person.driver.execute_script(f"[...{NEWEST}.querySelectorAll('button')].find(b => b.textContent === 'Use these settings').click()")
    person.wait_for(f"masked() === {stroke}", "the mask of the job")


def condition_by_upload(person, url, folder):
    person.driver.get(url)
    person.wait_for("!document.getElementById('condition-part').hidden", "the form with a condition")
    person.enter_at("e.id === 'go'")
    person.wait_for("document.getElementById('problem').textContent.startsWith('Choose a condition')", "the message that the condition is missing")
    person.upload("condition-file", folder / "photo.png")
    person.wait_for("!document.getElementById('condition-picture').hidden", "the condition")
    person.ask("document.getElementById('num').focus()")
    person.enter_at("e.id === 'go'")
    person.wait_for(DONE.format(jobs=1) + f" && {PICTURES}.length > 0", "pictures of the condition")
    person.look("12-condition")


def sample_by_numbers(person, url):
    from selenium.webdriver.common.keys import Keys
    person.driver.get(url)
    person.wait_for("!document.getElementById('vector-part').hidden", "the form with numbers")
    person.ask("document.getElementById('vector').focus()")
    person.press("size=big")
    person.enter_at("e.id === 'go'")
    person.wait_for("document.getElementById('problem').textContent.startsWith('Numbers: write size=1, shade=1')",
                    "the message about a word in place of a number")
    person.ask("document.getElementById('vector').focus()")
    person.retype("shade=-0.5, size=2")
    person.enter_at("e.id === 'go'")
    person.wait_for(DONE.format(jobs=1) + f" && {PICTURES}.length > 0", "pictures by numbers")
    person.look("13-numbers")
    person.ask("document.getElementById('vector').focus()")
    person.retype("")
    person.press(Keys.DELETE)
    person.ask("[...document.querySelectorAll('#jobs button')].find(b => b.textContent === 'Use these settings').click()")
    person.wait_for("document.getElementById('vector').value === 'shade=-0.5,size=2'", "the numbers of the job")


def look_around(person):
    person.wait_for("document.querySelectorAll('#run-charts canvas').length >= 1", "the curves")
    for scheme in ("light", "dark"):
        for width in (1200, 400):
            person.screen(width, 2600, scheme)
            person.look(f"4-{scheme}-{width}")


def log_in(person, url):
    from selenium.webdriver.common.keys import Keys
    person.driver.get(url)
    person.wait_for("!document.getElementById('login').hidden", "the form for the token")
    person.look("5-login")
    person.tab_to("e.id === 'token'")
    person.press("wrong", Keys.ENTER)
    person.wait_for("document.getElementById('problem').textContent.includes('not the token')", "the refusal")
    person.retype(TOKEN, Keys.ENTER)
    person.wait_for("!document.getElementById('sample').hidden", "the page after the login")


def tried(program, run, conditioned, numbered, out, folder):
    driver = start_browser()
    person = Person(driver, out)
    try:
        server, url = start_server(program, run)
        driver.get(url)
        sample_and_compare(person)
        look_around(person)
        person.collect_errors()
        refuse_wrong_steps(person)
        person.collect_errors(expected=["400 (Bad Request)"])
        driver.get(url)  # the history stays
        person.wait_for(DONE.format(jobs=5), "the history")
        person.collect_errors()
        person.screen(1200, 1400, "light")
        interpolate(person, 6)
        inpaint_by_keys(person, folder, 7)
        inpaint_by_mouse(person, 8)
        for scheme in ("light", "dark"):
            person.screen(400, 2600, scheme)
            person.look(f"11-{scheme}-400")
        person.collect_errors()
        driver.get("about:blank")
        stop_server(server)
        server, url = start_server(program, run, token=TOKEN)
        log_in(person, url)
        person.collect_errors(expected=["401 (Unauthorized)"])
        driver.get("about:blank")
        stop_server(server)
        server, url = start_server(program, conditioned)
        condition_by_upload(person, url, folder)
        person.collect_errors()
        driver.get("about:blank")
        stop_server(server)
        server, url = start_server(program, numbered)
        sample_by_numbers(person, url)
        person.collect_errors()
        driver.get("about:blank")
        stop_server(server)
    finally:
        driver.quit()
        for server in started:
            server.kill()
    return person.errors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--run")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/serve")
    arguments = parser.parse_args()
    system = "/usr/bin/python3"  # Debian's packages are of this one
    if importlib.util.find_spec("selenium") is None and os.path.exists(system) and "DDPM_TRIED" not in os.environ:
        os.execve(system, [system, *sys.argv], {**os.environ, "DDPM_TRIED": "1"})
    if importlib.util.find_spec("selenium") is None or not shutil.which("chromium") or not shutil.which("chromedriver"):
        print("skipped: chromium, chromium-driver or python3-selenium is not installed")
        sys.exit(77)
    arguments.out.mkdir(parents=True, exist_ok=True)
    program = os.path.abspath(arguments.program)
    with tempfile.TemporaryDirectory() as folder:
        def train(name, *settings):
            run = os.path.join(folder, "runs", name)
            flags = [word for setting in ("diffusion.timesteps=100", "data.image_size=24", "data.channels=3",
                                          "model.attention_resolutions=[12]", *settings) for word in ("--set", setting)]
            subprocess.run([program, "train", "--config", str(ROOT / "tests/tiny.toml"), "--out", run, *flags], check=True,
                           stderr=subprocess.DEVNULL)
            return run
        run = arguments.run or train("tiny", "model.class_conditional=true")
        conditioned = train("grey", 'model.condition="grey"')
        table = pathlib.Path(folder) / "numbers.csv"
        table.write_text("size,shade\n" + "".join(f"{i % 7},{i / 50}\n" for i in range(50)))
        numbered = train("numbers", f"data.vectors={table}", "model.vector_conditional=true")
        errors = tried(program, run, conditioned, numbered, arguments.out, pathlib.Path(folder))
    print("\n".join(errors) if errors else "no errors")
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
