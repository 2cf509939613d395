"""docs/tour.md with its pages in Chromium: what the reader types there, and what he
sees. tour_system.py says how the rest is done."""
import re

from browser import Browser
from tour_system import walk

SLOW = PAGES = True
# The id of the field with this label; what it is folded into is opened.
FIELD = """(() => {
    const label = Array.from(document.querySelectorAll('label'))
        .find((l) => l.textContent.trim() === arguments[0]);
    const field = label.control, fold = field.closest('details');
    if (fold && !fold.open) fold.querySelector('summary').click();
    return field.id;
})()"""


def shown(line):
    """Wherever it stands on the page, however it is laid out."""
    parts = (re.escape(" ".join(p.split())) for p in line.split("..."))
    return r" ?.*? ?".join(p.replace(r"\ ", " ") for p in parts)


class Chromium:
    def __init__(self):
        # A page that never ends is never loaded.
        self.b = Browser(insecure=True, hasty=True)

    def open(self, url):
        self.b.open(url)
        self.b.until("location.href === arguments[0]", url, url)

    def type(self, field, text):
        where = self.b.until(FIELD, f"a field {field!r}", field)
        self.b.fill("#" + where, text + "\ue007")

    def shows(self, line):
        self.b.until("new RegExp(arguments[0]).test((document.body || {innerText: ''})"
                     ".innerText.replace(/\\s+/g, ' '))", repr(line), shown(line))

    def close(self):
        self.b.close()


def test_every_line_of_the_tour_works_and_the_pages_show_it():
    walk(Chromium())
