"""A model and images of one's own: certify it as it is, correct it, check the proofs.

The images here are synthetic, so that the example runs anywhere in seconds; replace ``my_images``
and ``my_model`` with yours. ``preprocess`` says what the model expects: here grey levels
from 0 to 255, less a mean and divided by a deviation.
"""

from __future__ import annotations

import torch
from torch import nn

import asi_verify as asi
from asi_verify.data import Dataset, phantom

RADIUS = "2/255"


def my_images() -> Dataset:
    """Or ``(images, labels)`` as arrays, a folder of images by class, or a torch Dataset."""
    made, _ = phantom(3, samples=(80, 20, 20), duplicates=0, across=0, dual_labels=0, near=())
    return made


def my_model(data: Dataset) -> nn.Module:
    """An ordinary torch module, trained in the ordinary way."""
    torch.manual_seed(0)
    train = data.split("train")
    images = (torch.tensor(train.images).float() - 100) / 40
    labels = torch.tensor(train.labels)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 4, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 169, 2),
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval()


def main() -> None:
    """Certify, correct, check."""
    data = my_images()
    model = my_model(data)
    preprocess = asi.Preprocess(scale=255, mean=(100,), std=(40,))
    as_it_is = asi.certify(model, data, RADIUS, preprocess=preprocess)
    print(f"as it is: {as_it_is.status}")
    fixed = asi.correct(model, data, RADIUS, preprocess=preprocess, out="out/own-model")
    print(f"corrected: {fixed.status}; {len(fixed.bugs)} logged bugs")
    print(f"checked from the files: {asi.check('out/own-model', data).status}")


if __name__ == "__main__":
    main()
