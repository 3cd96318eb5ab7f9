"""The letterbox on the device: uint8 images in, the network's input out, in one kernel an image.

The arithmetic is that of OpenCV's bilinear resize in fixed point, so that the pixels are those of
`preprocess.letterbox`, up to one grey level in one pixel of several hundred. It is plain C: a test
compiles it for the processor and compares.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ..imaging.preprocess import PADDING, Letterbox
from .device_memory import Kernel, Stream

NAME: Final = "letterbox"
BLOCK: Final = (32, 8, 1)

PIXEL: Final = r"""
// Where a target pixel reads: the left of two source pixels, and its weights of 11 bits.
DEVICE void taps(int target, int source_length, int length, int *first, int *w0, int *w1) {
    double scale = 1.0 / ((double)length / source_length);
    float position = (float)((target + 0.5) * scale - 0.5);
    int left = (int)floorf(position);
    float fraction = position - left;
    if (left < 0) { left = 0; fraction = 0; }
    if (left >= source_length - 1) { left = source_length - 1; fraction = 0; }
    *first = left;
    *w0 = (int)rintf((1.0f - fraction) * 2048);
    *w1 = (int)rintf(fraction * 2048);
}

// One channel of one pixel of the canvas, 0..255.
DEVICE int canvas_value(const unsigned char *image, int source_h, int source_w, int height,
                        int width, int top, int left, int y, int x, int channel, int padding) {
    y -= top;
    x -= left;
    if (y < 0 || y >= height || x < 0 || x >= width) return padding;
    int row, column, b0, b1, a0, a1;
    taps(y, source_h, height, &row, &b0, &b1);
    taps(x, source_w, width, &column, &a0, &a1);
    int below = row + 1 < source_h ? row + 1 : row, right = column + 1 < source_w ? 3 : 0;
    const unsigned char *p = image + ((long long)row * source_w + column) * 3 + channel;
    const unsigned char *q = image + ((long long)below * source_w + column) * 3 + channel;
    int upper = p[0] * a0 + p[right] * a1, lower = q[0] * a0 + q[right] * a1;
    return (((b0 * (upper >> 4)) >> 16) + ((b1 * (lower >> 4)) >> 16) + 2) >> 2;
}
"""

SOURCE: Final = (
    "#define DEVICE __device__ static\n"
    + PIXEL
    + r"""
extern "C" __global__ void letterbox(
        const unsigned char *image, void *canvas, int source_h, int source_w, int height, int width,
        int top, int left, int canvas_h, int canvas_w, int swap, int planar, int padding) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= canvas_w || y >= canvas_h) return;
    for (int channel = 0; channel < 3; ++channel) {
        int value = canvas_value(image, source_h, source_w, height, width, top, left, y, x,
                                 swap ? 2 - channel : channel, padding);
        long long pixel = (long long)y * canvas_w + x;
        if (planar)
            ((float *)canvas)[(long long)channel * canvas_h * canvas_w + pixel] =
                value * (1.0f / 255);
        else
            ((unsigned char *)canvas)[pixel * 3 + channel] = (unsigned char)value;
    }
}
"""
)


def start(
    kernel: Kernel,
    image: int,
    plan: Letterbox,
    canvas: int,
    stream: Stream,
    *,
    swap: bool,
    planar: bool,
) -> None:
    """Start the letterbox of one image.

    Args:
        kernel: compiled from `SOURCE`.
        image: address of uint8 [H, W, 3].
        plan: where it goes.
        canvas: address of its row of the network's input.
        stream: it runs in.
        swap: the image is BGR.
        planar: the input is float32 [3, H, W], otherwise uint8 [H, W, 3].
    """
    height, width = plan.canvas
    grid = (-(-width // BLOCK[0]), -(-height // BLOCK[1]), 1)
    numbers: tuple[int, ...] = (
        *plan.source,
        *plan.resized,
        *plan.pad,
        *plan.canvas,
        swap,
        planar,
        PADDING,
    )
    addresses = (np.uint64(image), np.uint64(canvas))
    arguments: tuple[np.generic, ...] = (*addresses, *(np.int32(n) for n in numbers))
    kernel(grid, BLOCK, arguments, stream)
