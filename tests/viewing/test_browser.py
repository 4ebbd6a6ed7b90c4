# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pages in a real browser, Debian's Chromium without a window: typing, clicking, and pixels."""

import json
import time

import cv2
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from molmo_ros.cameras.files import write_color
from molmo_ros.engine import OneByOne
from molmo_ros.viewing.labelling.book import LabelBook
from molmo_ros.viewing.labelling.page import served

from .conftest import ScriptedEngine, SlabFeed, wait_for

# Software draws; a sandbox wants rights that a container does not have.
FLAGS = (
    *('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--hide-scrollbars'),
    *('--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'),
)
# Small, as a processor draws them.
DESKTOP, PHONE = (900, 560), (390, 700)


@pytest.fixture(scope='module')
def chromium():
    options = Options()
    for flag in FLAGS:
        options.add_argument(flag)
    options.binary_location = '/usr/bin/chromium'
    driver = webdriver.Chrome(options=options, service=Service('/usr/bin/chromedriver'))
    yield driver
    driver.quit()


def show(driver, address, size):
    """Open an address in a window of a size."""
    metrics = {'width': size[0], 'height': size[1], 'deviceScaleFactor': 1, 'mobile': False}
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
    driver.get(address)


@pytest.fixture
def visit(chromium, open_page):
    """Opens a page of the slab in a window of a size, and waits until its cloud is drawn."""

    def go(size):
        _, address = open_page({'slab': lambda: SlabFeed(lasts=0.0)})
        show(chromium, address, size)
        wait_for(lambda: chromium.find_elements(By.TAG_NAME, 'textarea'))
        return chromium

    return go


def picture(driver):
    """(H, W, 3) RGB of the window."""
    png = np.frombuffer(driver.get_screenshot_as_png(), np.uint8)
    return cv2.imdecode(png, cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def text(driver):
    return driver.execute_script('return document.body.innerText')


def pink(image):
    """How many pixels have the colour of a point, shaded or not."""
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    return int(((red > 130) & (green < 0.5 * red) & (blue > 0.3 * red) & (blue < 0.8 * red)).sum())


def drawn(driver, size):
    """The window without what stands beside the scene, or below it."""
    image = picture(driver)
    return image[:, :500] if size == DESKTOP else image[:-70]


@pytest.mark.parametrize('size', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_somebody_asks_and_sees_the_point(size, visit):
    driver = visit(size)
    box = next(e for e in driver.find_elements(By.TAG_NAME, 'textarea') if e.is_displayed())
    # What is typed fits into the window, and nothing lies beside that.
    place = box.rect
    assert place['x'] >= 0 and 200 < place['width'] <= size[0] - place['x']
    assert driver.execute_script('return document.documentElement.scrollWidth') <= size[0]
    box.send_keys('at 80 60', Keys.ENTER)
    wait_for(lambda: 'presence 0.50' in text(driver))
    assert 'at 80 60 · SUCCESS · count 1' in text(driver) and '+1.000' in text(driver)
    if size == PHONE:  # the sheet is folded down
        driver.find_element(By.XPATH, "//*[text()='molmo_ros']").click()
    # The table and the slab are dark, all around is white; the point is pink.
    wait_for(lambda: (drawn(driver, size).max(-1) < 200).mean() > 0.05)
    wait_for(lambda: pink(drawn(driver, size)) > 20)


def test_a_click_into_the_cloud_lifts_what_is_there(visit):
    driver = visit(DESKTOP)
    wait_for(lambda: (picture(driver)[:, :500].max(-1) < 250).mean() > 0.05)
    canvas = max(driver.find_elements(By.TAG_NAME, 'canvas'), key=lambda c: c.size['width'])
    ActionChains(driver).move_to_element(canvas).click().perform()
    wait_for(lambda: 'click at' in text(driver))
    assert 'CLICKED' in text(driver) and '±' in text(driver)


def settled(value):
    """What stays the same for a while: a sheet glides, and the picture is fitted anew after it."""
    last = value()
    while True:
        time.sleep(0.5)
        if (now := value()) == last:
            return now
        last = now


GREEN, BLUE = (20, 190, 60), (10, 40, 250)


def middle_of(image, color):
    """x, y of the middle of what has a colour, and how many pixels have it."""
    rows, columns = np.nonzero((np.abs(image - np.array(color)) < 60).all(-1))
    number = len(rows)
    return (columns.mean(), rows.mean(), number) if number else (0.0, 0.0, 0)


def ringed(image):
    """How many pixels of a green picture, magnified, have the colour of a ring, more or less."""
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    return int(((red > 180) & (red - green > 80) & (blue > 80)).sum())


@pytest.mark.parametrize('size', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_somebody_labels_what_the_model_proposes_and_what_it_missed(size, chromium, tmp_path):
    images = tmp_path / 'parts/images'
    images.mkdir(parents=True)
    color = np.full((120, 160, 3), GREEN, np.uint8)
    color[85:96, 30:41] = BLUE  # its middle is at 35.5, 90.5
    for name in ('first.png', 'second.png'):
        write_color(images / name, color)
    driver, book = chromium, LabelBook(tmp_path / 'parts')

    def press(words):
        # What lies further down in the panel of a phone is scrolled to.
        driver.execute_script(
            'arguments[0].click()', driver.find_element(By.XPATH, f"//button[.='{words}']")
        )

    def fold():
        """Of a phone the panel is a sheet before the picture; down, or up again."""
        if size == PHONE:
            driver.find_element(By.XPATH, "//*[text()='molmo_ros label']").click()

    engine = OneByOne(ScriptedEngine())
    with served(book, lambda told: engine, port=0, label='at 100 40') as (_, address):
        show(driver, address, size)
        wait_for(lambda: 'first.png (1 of 2)' in text(driver))
        assert driver.execute_script('return document.documentElement.scrollWidth') <= size[0]
        press('Ask the model')
        wait_for(lambda: '1 point, not kept yet' in text(driver))
        fold()
        # All of the picture is seen, with what the model pointed at.
        wait_for(lambda: ringed(drawn(driver, size)) > 20)
        wait_for(lambda: middle_of(drawn(driver, size), BLUE)[2] > 40)
        assert middle_of(drawn(driver, size), GREEN)[2] > 20_000
        x, y, _ = settled(lambda: middle_of(drawn(driver, size), BLUE))
        canvas = max(driver.find_elements(By.TAG_NAME, 'canvas'), key=lambda c: c.size['width'])
        place = canvas.rect
        off = x - place['x'] - place['width'] / 2, y - place['y'] - place['height'] / 2
        ActionChains(driver).move_to_element_with_offset(canvas, *map(round, off)).click().perform()
        fold()
        wait_for(lambda: '2 points, not kept yet' in text(driver))
        press('Keep, next picture')
        wait_for(lambda: 'second.png (2 of 2)' in text(driver))
    (line,) = (tmp_path / 'parts/points.jsonl').read_text().splitlines()
    np.testing.assert_allclose(json.loads(line)['points'], [[100, 40], [35.5, 90.5]], atol=1.5)
