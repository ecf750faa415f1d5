"""What every class activation map of ``OneConvolution`` is, written out with numpy: no code is shared.

The network is ``y = W mean(A) + b`` with ``A`` one 3x3 convolution of the input: ``dy_c / dA_k = W_ck / (h w)``.
"""

from __future__ import annotations

import numpy as np

GAUSSIAN = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16


class Written:
    """One input ``(2, h, w)`` of the network with these weights."""

    def __init__(self, net, image) -> None:
        self.kernel, self.shift = (each.detach().numpy() for each in (net.conv.weight, net.conv.bias))
        self.head, self.bias = (each.detach().numpy() for each in (net.fc.weight, net.fc.bias))
        self.image = np.asarray(image, dtype=np.float64)
        self.maps = self.convolve(self.image)
        self.places = self.maps[0].size
        self.logits = self.classify(self.maps)

    def convolve(self, image):
        channels, height, width = image.shape
        padded = np.zeros((channels, height + 2, width + 2))
        padded[:, 1:-1, 1:-1] = image
        out = np.zeros((len(self.kernel), height, width))
        for k in range(len(self.kernel)):
            for i in range(height):
                for j in range(width):
                    out[k, i, j] = self.shift[k] + (self.kernel[k] * padded[:, i : i + 3, j : j + 3]).sum()
        return out

    def classify(self, maps):
        return self.head @ maps.mean(axis=(1, 2)) + self.bias

    def probabilities(self, logits):
        shares = np.exp(logits - logits.max())
        return shares / shares.sum()

    def summed(self, weights):
        """Maps summed with a weight for each channel."""
        return sum(weight * each for weight, each in zip(weights, self.maps, strict=True))

    def cam(self, c):
        return self.summed(self.head[c])

    def gradcam(self, c):
        return self.summed(self.head[c] / self.places)

    xgradcam = hirescam = gradcam

    def layercam(self, c):
        return self.summed(np.maximum(self.head[c] / self.places, 0))

    def gradcam_plusplus(self, c):
        """Equation 19 as printed, with the second and third powers of the gradient."""
        weights = []
        for k, each in enumerate(self.maps):
            g = self.head[c, k] / self.places
            alpha = g**2 / (2 * g**2 + each.sum() * g**3)
            weights.append(sum(alpha * max(g, 0) for _ in range(self.places)))
        return self.summed(weights)

    def shapleycam(self, c):
        """The residual score's gradient and curvature in closed form: the softmax has a covariance for a Hessian."""
        p = self.probabilities(self.logits)
        slope = (2 * self.head[c] - p @ self.head) / self.places
        mean = p @ self.head
        covariance = sum(p[j] * np.outer(self.head[j] - mean, self.head[j] - mean) for j in range(len(p)))
        bend = -covariance @ self.maps.sum(axis=(1, 2)) / self.places**2
        return self.summed(slope - bend / 2)

    def ablationcam(self, c):
        weights = []
        for k in range(len(self.maps)):
            ablated = self.maps.copy()
            ablated[k] = 0
            weights.append((self.logits[c] - self.classify(ablated)[c]) / abs(self.logits[c]))
        return self.summed(weights)

    def masked_scores(self, c, *, probability=False):
        """Scores with each channel's map, stretched to [0, 1], as a mask on the image; the maps have its size."""
        scores = []
        for each in self.maps:
            mask = (each - each.min()) / (each.max() - each.min())
            logits = self.classify(self.convolve(self.image * mask))
            scores.append((self.probabilities(logits) if probability else logits)[c])
        return np.array(scores)

    def scorecam(self, c):
        return self.summed(self.probabilities(self.masked_scores(c)))

    def scorecam_by_probability(self, c):
        return self.summed(self.masked_scores(c, probability=True))

    def reciprocam(self, c, *, blur=True, probability=True):
        _, height, width = self.maps.shape
        found = np.zeros((height, width))
        for i in range(height):
            for j in range(width):
                mask = np.zeros((height, width))
                for di in (-1, 0, 1):
                    for dj in (-1, 0, 1):
                        if 0 <= i + di < height and 0 <= j + dj < width:
                            mask[i + di, j + dj] = GAUSSIAN[di + 1, dj + 1] if blur else di == dj == 0
                logits = self.classify(self.maps * mask)
                found[i, j] = (self.probabilities(logits) if probability else logits)[c]
        return found

    def principal(self, maps):
        matrix = maps.reshape(len(maps), -1).T
        left, values, _ = np.linalg.svd(matrix, full_matrices=False)
        return (left[:, 0] * values[0]).reshape(maps.shape[1:])

    def eigencam(self):
        found = self.principal(self.maps)
        return found * np.sign((found * np.abs(self.maps).sum(axis=0)).sum())

    def eigengradcam(self, c):
        product = self.maps * (self.head[c] / self.places)[:, None, None]
        found = self.principal(product)
        return found * np.sign((found * product.sum(axis=0)).sum())

    def fullgrad(self, c):
        """Input times gradient, and the convolution's bias times gradient; the linear layer's bias has no place."""
        slopes = np.zeros_like(self.image)
        _, height, width = self.image.shape
        for k in range(len(self.kernel)):
            for i in range(height):
                for j in range(width):
                    for di in (-1, 0, 1):
                        for dj in (-1, 0, 1):
                            if 0 <= i + di < height and 0 <= j + dj < width:
                                part = self.kernel[k, :, di + 1, dj + 1]
                                slopes[:, i + di, j + dj] += self.head[c, k] / self.places * part
        biases = np.zeros_like(self.maps)
        for k in range(len(self.maps)):
            biases[k] = self.shift[k] * self.head[c, k] / self.places
        return stretched(slopes * self.image) + stretched(biases)


def stretched(values):
    size = np.abs(values)
    return ((size - size.min()) / (size.max() - size.min())).sum(axis=0)
