"""A browser for the trials of pages: a headless Chromium, and a person who uses it. No program of its own."""

import shutil
import struct
import sys
import time
import zlib


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

    def hold(self, key, *keys):
        """Presses keys while one is held."""
        from selenium.webdriver.common.action_chains import ActionChains
        ActionChains(self.driver).key_down(key).send_keys(*keys).key_up(key).perform()

    def enter_at(self, what):
        from selenium.webdriver.common.keys import Keys
        self.tab_to(what)
        self.press(Keys.ENTER)

    def upload(self, field, file):
        """Chooses a file of the disk: the dialog of the system belongs to no page."""
        self.driver.find_element("id", field).send_keys(str(file))

    def drag(self, element, *points):
        """Paints with the mouse, from point to point: shares of the element's width and height."""
        from selenium.webdriver.common.action_chains import ActionChains
        node = self.driver.find_element("id", element)
        place = lambda share, size: int((share - 0.5) * size)
        chain = ActionChains(self.driver, duration=50)
        for i, (x, y) in enumerate(points):
            chain.move_to_element_with_offset(node, place(x, node.size["width"]), place(y, node.size["height"]))
            if i == 0:
                chain.click_and_hold()
        chain.release().perform()

    def expect(self, expression, what):
        if not self.ask(expression):
            self.look("failed")
            sys.exit(f"not so: {what}; {expression} is {self.ask(expression)}")

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


def png_of(width, height, colour):
    """A PNG of colour(x, y) -> (r, g, b)."""
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in colour(x, y)) for y in range(height))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


# How many pixels of two pictures differ within and outside a mask, all given as addresses.
DIFFERENCES = """
const [one, two, mask, done] = arguments;
const pixels = async (url) => {
  const bitmap = await createImageBitmap(await (await fetch(url)).blob());
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.getContext("2d").getImageData(0, 0, bitmap.width, bitmap.height).data;
};
Promise.all([one, two, mask].map(pixels)).then(([a, b, m]) => {
  const found = { masked: 0, within: 0, outside: 0 };
  for (let i = 0; i < a.length; i += 4) {
    const differs = a[i] !== b[i] || a[i + 1] !== b[i + 1] || a[i + 2] !== b[i + 2];
    if (m[i] === 255) ++found.masked;
    if (differs) ++found[m[i] === 255 ? "within" : "outside"];
  }
  done(found);
});
"""
