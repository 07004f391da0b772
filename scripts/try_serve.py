#!/usr/bin/env python3
"""Opens the page of `ddpm serve` in a real browser, headless, and uses it as a person does, with the keyboard alone:
samples, compares, uses a job's settings again, watches the run, logs in with a token. Takes screenshots.

    try_serve.py DDPM_PROGRAM [--run RUN] [--out FOLDER]

    --run   a run to show (default: tests/tiny.toml is trained first)
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
import time

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


def start_browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,1000"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)


class Person:
    """Uses a page by keys alone, and looks."""

    def __init__(self, driver, out):
        self.driver, self.out = driver, out
        self.errors = []

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains
        ActionChains(self.driver).send_keys(*keys).perform()

    def retype(self, *keys):
        """Replaces the text of the field that has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys
        ActionChains(self.driver).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).send_keys(*keys).perform()

    def tab_to(self, what):
        """Presses Tab until document.activeElement fulfils the JavaScript expression `what`."""
        from selenium.webdriver.common.keys import Keys
        for _ in range(120):
            if self.ask(f"(e => {what})(document.activeElement)"):
                return
            self.press(Keys.TAB)
        sys.exit(f"no Tab leads to {what}")

    def ask(self, expression):
        return self.driver.execute_script(f"return {expression}")

    def wait_for(self, expression, what, seconds=120):
        end = time.monotonic() + seconds
        while not self.ask(expression):
            if time.monotonic() > end:
                self.look("failed")
                sys.exit(f"waited {seconds} s for {what}; the page says: {self.ask('document.body.innerText')[:2000]}")
            time.sleep(0.1)

    def look(self, name):
        file = self.out / f"{name}.png"
        self.driver.save_screenshot(str(file))
        print(file)

    def collect_errors(self, expected=()):
        self.errors += [entry["message"] for entry in self.driver.get_log("browser")
                        if entry["level"] in ("SEVERE", "WARNING") and not any(word in entry["message"] for word in expected)]

    def screen(self, width, height, scheme):
        mobile = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", mobile)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                    {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        time.sleep(0.5)
        wide = self.ask("document.documentElement.scrollWidth")
        if wide > width:
            self.errors.append(f"the page is {wide} pixels wide on a screen of {width}")


DONE = "[...document.querySelectorAll('#jobs > .job')].length >= {jobs} && !document.querySelector('#jobs .waiting') && " \
       "[...document.querySelectorAll('#jobs .status')].every(s => s.textContent.startsWith('done'))"


def sample_and_compare(person):
    from selenium.webdriver.common.keys import Keys
    person.wait_for("!document.getElementById('sample').hidden", "the form")
    person.look("1-begin")
    person.tab_to("e.id === 'num'")
    person.retype("3")
    person.tab_to("e.id === 'go'")
    person.press(Keys.ENTER)
    person.wait_for(DONE.format(jobs=1), "three pictures")
    found = person.ask("[...document.querySelectorAll('#jobs img')].filter(i => i.complete && i.naturalWidth > 0).length")
    if found != 3:
        sys.exit(f"{found} pictures were loaded, not 3")
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


def tried(program, run, out):
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
        person.wait_for(DONE.format(jobs=4), "the history")
        person.collect_errors()
        driver.get("about:blank")
        stop_server(server)
        server, url = start_server(program, run, token=TOKEN)
        log_in(person, url)
        person.collect_errors(expected=["401 (Unauthorized)"])
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
        run = arguments.run or os.path.join(folder, "runs/tiny")
        if not arguments.run:
            subprocess.run([program, "train", "--config", str(ROOT / "tests/tiny.toml"), "--out", run,
                            "--set", "diffusion.timesteps=100"], check=True, stderr=subprocess.DEVNULL)
        errors = tried(program, run, arguments.out)
    print("\n".join(errors) if errors else "no errors")
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
