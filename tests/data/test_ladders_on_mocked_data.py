"""The experiments of SVHN and CelebA on mocked data of TFDS: a few steps of their ladders, made thin."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow_datasets as tfds
from prepared_data import describe

import vaelab
from experiments.vlae import EXPERIMENTS
from vaelab.data import SVHN, CelebA


def thin(ladder):
    """The ladder with few units and without residual blocks, which compiles quickly."""

    def few(channels):
        return tuple(2 for _ in channels) if isinstance(channels, tuple) else 2

    top, *maps = ladder.networks
    maps = [network.clone(num_blocks=0, channels=few(network.channels)) for network in maps]
    return ladder.clone(networks=(top.clone(hidden=(4,)), *maps))


@pytest.mark.parametrize(
    ("name", "data_set", "tfds_name", "dims"),
    [
        ("svhn_vlae", SVHN(5), "svhn_cropped", (10, 5, 5, 5)),
        ("celeba_vlae", CelebA(), "celeb_a", (10, 10, 10, 10)),
    ],
)
def test_experiments_of_colour_images_train(name, data_set, tfds_name, dims, tmp_path, monkeypatch):
    # As in `test_colour.test_mocked_data_of_tfds_are_read`.
    monkeypatch.setattr("vaelab.data.tfds_source._skipped_images", lambda features: None)
    splits = ["train", "test"] + ["validation"] * (tfds_name == "celeb_a")
    folder = describe(tmp_path / "tensorflow_datasets", tfds_name, {part: [20] for part in splits})
    (folder / f"{tfds_name}-train.array_record-00000-of-00001").write_bytes(bytes(100))
    experiment = EXPERIMENTS[name]
    model = experiment.model
    model = model.clone(encoder=thin(model.encoder), generator=thin(model.generator))
    experiment = experiment.with_fields(
        data=data_set,
        model=model,
        batch_size=4,
        num_steps=2,
        log_every=1,
        evaluate_every=2,
        num_test=4,
    )
    policy = tfds.testing.MockPolicy.USE_FILES
    with tfds.testing.mock_data(num_examples=20, policy=policy, data_dir=str(folder)):
        result = vaelab.train(experiment, data_dir=str(tmp_path), progress=False)
    assert result.model.latent_dims == dims
    assert [code.shape for code in result.encode(result.run.splits.test.x[:2])] == [
        (2, dim) for dim in dims
    ]
    assert np.all(np.isfinite(result.history["elbo"]))
