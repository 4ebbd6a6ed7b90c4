# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser, Debian's Chromium without a window: typing, clicking, and pixels."""

import cv2
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from .conftest import SlabFeed, wait_for

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


@pytest.fixture
def visit(chromium, open_page):
    """Opens a page of the slab in a window of a size, and waits until its cloud is drawn."""

    def go(size):
        _, address = open_page({'slab': lambda: SlabFeed(lasts=0.0)})
        metrics = {'width': size[0], 'height': size[1], 'deviceScaleFactor': 1, 'mobile': False}
        chromium.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
        chromium.get(address)
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
