"""Pictures, arrays and noise as input of a network."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hwflow.errors import DesignError
from hwflow.pictures import VALUES_IN_MEMORY, batches, load_images, noise, read_pictures


def preprocessing(**values):
    defaults = {
        "resize": None,
        "resize_mode": "short_side",
        "crop": None,
        "channels": "rgb",
        "mean": 0.0,
        "scale": 1.0,
    }
    return SimpleNamespace(**{**defaults, **values})


def picture(path, height, width, channels=3, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return pixels


def faults_of(*arguments):
    with pytest.raises(DesignError) as caught:
        read_pictures(*arguments)
    return [(fault.where or fault.subject, fault.message) for fault in caught.value.faults]


def test_a_picture_of_the_inputs_size_is_taken_as_it_is(tmp_path):
    pixels = picture(tmp_path / "a.png", 5, 7)
    images = read_pictures(tmp_path / "a.png", preprocessing(), (5, 7, 3))
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, pixels[None])


def test_channel_order_mean_and_scale(tmp_path):
    pixels = picture(tmp_path / "a.png", 5, 7).astype(np.float64)
    mean, scale = (104, 117, 123), (0.5, 0.25, 2)
    images = read_pictures(
        tmp_path / "a.png", preprocessing(channels="bgr", mean=mean, scale=scale), (5, 7, 3)
    )
    expected = (pixels[None, ..., ::-1] - mean) * scale
    np.testing.assert_array_equal(images, expected.astype(np.float32))


@pytest.mark.parametrize(("crop", "shape"), [(4, (4, 4)), ((3, 5), (3, 5)), (None, (5, 3))])
def test_the_centre_is_cropped_after_resizing(tmp_path, crop, shape):
    picture(tmp_path / "a.png", 20, 30)
    resized = Image.open(tmp_path / "a.png").resize((9, 6), Image.Resampling.BILINEAR)
    top, left = (6 - shape[0]) // 2, (9 - shape[1]) // 2
    expected = np.asarray(resized)[top : top + shape[0], left : left + shape[1]]
    images = read_pictures(tmp_path / "a.png", preprocessing(resize=6, crop=crop), (*shape, 3))
    np.testing.assert_array_equal(images[0], expected)


def test_a_crop_alone_keeps_the_pictures_size(tmp_path):
    pixels = picture(tmp_path / "a.png", 9, 8)
    images = read_pictures(tmp_path / "a.png", preprocessing(crop=4), (4, 4, 3))
    np.testing.assert_array_equal(images[0], pixels[2:6, 2:6])


def test_warping_gives_both_sides_the_size(tmp_path):
    picture(tmp_path / "a.png", 20, 30)
    expected = Image.open(tmp_path / "a.png").resize((6, 6), Image.Resampling.BILINEAR)
    images = read_pictures(
        tmp_path / "a.png", preprocessing(resize=6, resize_mode="warp", crop=6), (6, 6, 3)
    )
    np.testing.assert_array_equal(images[0], np.asarray(expected))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 30), st.integers(1, 30))
def test_without_sizes_a_picture_just_covers_the_input(
    tmp_path_factory, height, width, rows, columns
):
    path = tmp_path_factory.mktemp("pictures") / "a.png"
    Image.new("RGB", (width, height), (7, 8, 9)).save(path)
    images = read_pictures(path, preprocessing(), (rows, columns, 3))
    assert images.shape == (1, rows, columns, 3)
    np.testing.assert_array_equal(images, np.broadcast_to([7.0, 8, 9], images.shape))


def test_one_channel_is_greyscale(tmp_path):
    pixels = picture(tmp_path / "a.png", 4, 6, channels=1)
    images = read_pictures(tmp_path / "a.png", preprocessing(mean=1, scale=[2.0]), (4, 6, 1))
    np.testing.assert_array_equal(images[0], (pixels - 1.0) * 2)
    Image.new("RGB", (6, 4), (255, 0, 0)).save(tmp_path / "red.png")
    images = read_pictures(tmp_path / "red.png", preprocessing(), (4, 6, 1))
    np.testing.assert_array_equal(images, np.full((1, 4, 6, 1), 76.0))  # luma of red, ITU-R 601-2


def test_a_folder_is_read_by_name_and_up_to_the_count(tmp_path):
    for name, grey in (("c.png", 3), ("a.BMP", 1), ("b.jpg", 2)):
        Image.new("L", (4, 4), grey).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("no picture")
    images = read_pictures(tmp_path, preprocessing(), (4, 4, 1))
    assert images[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert len(read_pictures(tmp_path, preprocessing(), (4, 4, 1), 2)) == 2
    assert len(read_pictures(tmp_path, preprocessing(), (4, 4, 1), 9)) == 3


def test_an_array_is_taken_as_it_is(tmp_path):
    array = np.random.default_rng(0).normal(size=(3, 4, 5, 2))
    np.save(tmp_path / "x.npy", array)
    images = read_pictures(tmp_path / "x.npy", preprocessing(mean=9, scale=9), (4, 5, 2), 2)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, array[:2].astype(np.float32))


def test_every_unreadable_picture_is_named(tmp_path):
    picture(tmp_path / "a.png", 8, 8)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.png").write_text("no picture")
    Image.new("I;16", (8, 8)).save(tmp_path / "d.png")
    picture(tmp_path / "e.png", 3, 9)
    (where_b, b), (where_c, c), (where_d, d), (where_e, e) = faults_of(
        tmp_path, preprocessing(crop=4), (4, 4, 3)
    )
    assert where_b == str(tmp_path / "b.png")
    assert where_c == str(tmp_path / "c.png")
    assert where_d == str(tmp_path / "d.png")
    assert where_e == str(tmp_path / "e.png")
    assert b.startswith("must be a whole picture")
    assert c == "must be a picture, but its format is unknown"
    assert d == "must have 8 bits a channel, but is of mode I;16"
    assert e.startswith("must be at least 4 x 4 pixels after resizing, as the crop is, but is 3 x")


def test_sources_that_do_not_fit(tmp_path):
    assert "has none in it" in faults_of(tmp_path, preprocessing(), (4, 4, 3))[0][1]
    for name in ("a.png", "a.npy", "a"):
        assert "but is not there" in faults_of(tmp_path / name, preprocessing(), (4, 4, 3))[0][1]
    picture(tmp_path / "a.png", 8, 8)
    source = tmp_path / "a.png"
    for settings_, shape, message in (
        (preprocessing(crop=5), (4, 4, 3), "input of 4 x 4 pixels, not 5 x 5"),
        (preprocessing(), (4, 4, 2), "the network's input has 2"),
        (preprocessing(mean=(1, 2)), (4, 4, 3), "one for each of the 3 channels"),
        (preprocessing(scale=(1, 2, 3)), (4, 4, 1), "one for each of the 1 channels"),
    ):
        assert message in faults_of(source, settings_, shape)[0][1]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 4, 4)), "must be images of shape (N, 4, 4, 3)"),
        (np.zeros((2, 3, 4, 4)), "not (2, 3, 4, 4)"),
        (np.zeros((0, 4, 4, 3)), "not (0, 4, 4, 3)"),
        (np.full((1, 4, 4, 3), np.nan), "must hold finite numbers"),
        (np.zeros((1, 4, 4, 3), complex), "must hold numbers, not complex128"),
        (np.full((1, 4, 4, 3), None), "must be a whole .npy file"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, array, message):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    assert message in faults_of(tmp_path / "x.npy", preprocessing(), (4, 4, 3))[0][1]


def test_a_truncated_array_is_refused(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((1, 4, 4, 3)))
    whole = path.read_bytes()
    for size in (0, 5, len(whole) // 2):
        path.write_bytes(whole[:size])
        assert "must be a whole .npy file" in faults_of(path, preprocessing(), (4, 4, 3))[0][1]


def test_noise_is_seeded_and_does_not_depend_on_the_count():
    images = noise((20, 16, 3), 8, 5)
    np.testing.assert_array_equal(noise((20, 16, 3), 8, 5), images)
    np.testing.assert_array_equal(noise((20, 16, 3), 3, 5), images[:3])
    others = noise((20, 16, 3), 8, 6)
    assert [np.array_equal(a, b) for a, b in zip(images, others, strict=True)] == [
        index in (2, 3) for index in range(8)
    ]


def test_noise_has_smooth_areas_edges_and_both_extremes():
    images = noise((64, 64, 3), 12, 1)
    assert images.dtype == np.float32
    assert images.min() == 0
    assert images.max() == 255
    np.testing.assert_array_equal(images, np.rint(images))
    assert np.all(images[2] == 0)
    assert np.all(images[3] == 255)
    steps = np.abs(np.diff(images, axis=2))
    smooth = [index for index in range(12) if index not in (2, 3, 4)]
    assert np.median(steps[4]) > 64
    for index in smooth:
        assert np.median(steps[index]) < 20
        assert steps[index].max() > 60
        assert images[index].std() > 10


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 2), (3, 2, 5)])
def test_noise_of_any_shape(shape):
    assert noise(shape, 6, 0).shape == (6, *shape)


def test_noise_is_in_the_units_of_the_input():
    settings_ = preprocessing(mean=(1, 2, 3), scale=(0.5, 1, 2))
    pixels = noise((8, 8, 3), 6, 4).astype(np.float64)
    expected = ((pixels - (1, 2, 3)) * (0.5, 1, 2)).astype(np.float32)
    np.testing.assert_array_equal(load_images(None, settings_, (8, 8, 3), 6, 4), expected)
    with pytest.raises(DesignError, match=r"preprocessing\.mean: must be one number"):
        load_images(None, preprocessing(mean=(1, 2)), (8, 8, 3), 6, 4)


def test_load_images_reads_a_source(tmp_path):
    pixels = picture(tmp_path / "a.png", 4, 4)
    images = load_images(tmp_path, preprocessing(), (4, 4, 3), 4, 0)
    np.testing.assert_array_equal(images, pixels[None])


def test_parts_of_images_fit_into_memory():
    images = np.zeros((5, 2, 2, 1), np.float32)
    assert [(s, len(part)) for s, part in batches(images, 2, 100)] == [(0, 2), (2, 2), (4, 1)]
    assert [len(part) for _, part in batches(images, 4, VALUES_IN_MEMORY // 3)] == [3, 2]
    assert [len(part) for _, part in batches(images, 4, 2 * VALUES_IN_MEMORY)] == [1] * 5
    assert list(batches(images[:0], 4, 1)) == []
