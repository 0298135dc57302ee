"""Valid uploads, damaged at random: never a 5xx, always a problem document or an image, never dear."""

from __future__ import annotations

import time

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

MOST_SECONDS = 5.0
MOST_BYTES = 80_000_000

bounded = settings(
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

EXTREMES = tuple(
    number.to_bytes(size, order)
    for size in (2, 4)
    for order in ("little", "big")
    for number in (0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1)
)
TEXT_FIELDS = {
    "model": ["gray-tiny", "ct-tiny", "ct-tiny@1", "ct-tiny@99", "../x", "\0", ""],
    "strength": ["0", "0.5", "1", "1e-300", "-0", "+1", "0x1", "nan", "", "\u0661"],
    "metrics": ["true", "psnr", "psnr,ssim", "none", "all,all", ",", ""],
    "rescale_slope": ["1", "-1", "1e-5", "1e300", "0", "inf", ""],
    "rescale_intercept": ["0", "-1024", "1e300", "nan", ""],
}


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with up to four changes, more often near the start, where the headers are."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        if not changed:
            break
        reach = draw(st.sampled_from([64, 400, 1500, len(changed)]))
        at = draw(st.integers(0, min(reach, len(changed)) - 1))
        kind = draw(st.sampled_from(["flip", "extreme", "cut", "insert", "delete", "double"]))
        length = draw(st.integers(1, 40))
        match kind:
            case "flip":
                changed[at] ^= 1 << draw(st.integers(0, 7))
            case "extreme":
                number = draw(st.sampled_from(EXTREMES))
                changed[at : at + len(number)] = number
            case "cut":
                del changed[at:]
            case "insert":
                changed[at:at] = draw(st.binary(min_size=1, max_size=length))
            case "delete":
                del changed[at : at + length]
            case "double":
                changed[at:at] = changed[at : at + length]
    return bytes(changed)


def check(answer, begin) -> None:
    assert time.monotonic() - begin < MOST_SECONDS
    assert answer.status_code < 500, answer.text
    assert answer.headers["x-request-id"]
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


def test_damaged_files_and_odd_fields(client, server, peak_before, valid_files):
    statuses: dict[int, int] = {}

    @settings(bounded, max_examples=400)
    @given(data=st.data())
    def one(data: st.DataObject) -> None:
        names = sorted(valid_files)
        files = {"image": data.draw(damaged(valid_files[data.draw(st.sampled_from(names))]))}
        if data.draw(st.booleans()):
            files["reference"] = data.draw(damaged(valid_files[data.draw(st.sampled_from(names))]))
        fields = {
            name: data.draw(st.sampled_from(values)) for name, values in TEXT_FIELDS.items() if data.draw(st.booleans())
        }
        path = data.draw(st.sampled_from(["/v1/reconstructions", "/v1/reconstructions", "/v1/metrics"]))
        accept = data.draw(st.sampled_from(["*/*", "application/json", "multipart/mixed", "image/png", "image/tiff"]))
        begin = time.monotonic()
        answer = client.post(path, files=files, data=fields, headers={"accept": accept})
        check(answer, begin)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1

    one()
    assert server.peak_bytes() - peak_before < MOST_BYTES
    assert set(statuses) >= {200, 400, 422}, statuses  # the fuzz is neither all good nor all bad


def test_damaged_forms(client, server, peak_before, good):
    """The envelope is damaged, not the file."""
    whole = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngray-tiny\r\n'
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.npy"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + good + b"\r\n--b--\r\n"
    )
    statuses: set[int] = set()

    @settings(bounded, max_examples=200)
    @given(body=damaged(whole))
    def one(body: bytes) -> None:
        begin = time.monotonic()
        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = client.post("/v1/reconstructions", content=body, headers=headers)
        check(answer, begin)
        statuses.add(answer.status_code)

    one()
    assert server.peak_bytes() - peak_before < MOST_BYTES
    assert statuses >= {200, 400}
