"""The mesh of a training: how many devices share each batch, and how many groups share the members."""

from __future__ import annotations

import dataclasses

import jax

from vaelab.checks import UsageError, check_at_least_one
from vaelab.training.sharding import make_mesh


@dataclasses.dataclass(frozen=True)
class Mesh:
    """The devices of a training. They change its speed and memory, and its numbers by rounding alone.

    The batch size is that of all devices together.
    """

    data: int | None = None
    """Number of devices that share each batch: a divisor of the batch size. Left out, the largest that fits."""
    sweep: int | None = None
    """Number of groups of devices, which share the members of a sweep: a divisor of the number of members. Left out, the largest that fits."""
    shard_parameters: bool = False
    """True splits parameters and optimiser state over the devices that share a batch. False copies them to each device."""

    def __post_init__(self) -> None:
        check_at_least_one(data=self.data, sweep=self.sweep)

    def make(self, batch_size: int, num_members: int | None) -> jax.sharding.Mesh:
        """The mesh of these devices. Numbers that are left out use as many devices as possible.

        Args:
          batch_size: number of examples of a batch, on all devices together.
          num_members: number of members of a sweep. None for a single run.

        Raises:
          UsageError: the numbers do not fit to the batch, the members or the devices.
        """
        sweep, data = self.shape(batch_size, num_members, jax.device_count(), jax.process_count())
        each = sweep * data // jax.process_count()
        devices = [device for p in range(jax.process_count()) for device in _of(p)[:each]]
        return make_mesh(sweep=sweep, devices=devices)

    def shape(
        self, batch_size: int, num_members: int | None, num_devices: int, num_processes: int = 1
    ) -> tuple[int, int]:
        """(sweep, data). Every process has the same number of devices in the mesh.

        >>> Mesh().shape(100, None, 8), Mesh().shape(100, 4, 8), Mesh(data=4).shape(100, None, 8)
        ((1, 5), (4, 2), (1, 4))
        """
        if num_members is None and self.sweep not in (None, 1):
            raise UsageError(
                f"mesh.sweep = {self.sweep} splits the members of a sweep, and this is a single run: "
                "leave it out."
            )
        members = num_members or 1
        sweeps = _choices("sweep", self.sweep, members, "the number of members,", num_devices)
        datas = _choices("data", self.data, batch_size, "batch_size =", num_devices)
        fitting = [
            (sweep * data, sweep, data)
            for sweep in sweeps
            for data in datas
            if sweep * data <= num_devices and sweep * data % num_processes == 0
        ]
        if fitting:
            _, sweep, data = max(fitting)  # members first: they need no communication
            return sweep, data
        asked = [
            f"mesh.{name} = {value}"
            for name, value in (("data", self.data), ("sweep", self.sweep))
            if value is not None
        ]
        if num_processes > 1:
            raise UsageError(
                f"{num_devices} devices of {num_processes} processes cannot share "
                f"{' and '.join([f'batch_size = {batch_size}', *asked])}: every process needs the same "
                f"number of devices, so choose a batch_size that is a multiple of {num_processes}."
            )
        raise UsageError(
            f"{' times '.join(asked)} is more than the {num_devices} devices of this training: decrease "
            f"{'it' if len(asked) == 1 else 'one of them'}."
        )

    def sentences(self, mesh: jax.sharding.Mesh, batch_size: int) -> list[str]:
        """For the user, how many devices are used, and why not all."""
        used, available = mesh.size, jax.device_count()
        found = []
        if self.shard_parameters and mesh.shape["data"] == 1:
            found.append("mesh.shard_parameters has no effect: each batch is on one device.")
        if available == 1:
            return found
        sentence = f"{used} of {available} devices are used"
        if used < available and self.data is None and self.sweep is None:
            sentence += (
                f", the most that divide batch_size = {batch_size}: a multiple of "
                f"{available // mesh.shape['sweep']} uses all"
            )
        return [f"{sentence}.", *found]


def _of(process: int) -> list[jax.Device]:
    return [device for device in jax.devices() if device.process_index == process]


def _choices(name: str, asked: int | None, total: int, what: str, num_devices: int) -> list[int]:
    """The divisors of a number, up to the number of devices; or the one that was asked for."""
    divisors = [n for n in range(1, min(total, num_devices) + 1) if total % n == 0]
    if asked is None:
        return divisors
    if total % asked:
        raise UsageError(
            f"mesh.{name} = {asked} must divide {what} {total}: choose {_either(divisors)}."
        )
    return [asked]


def _either(numbers: list[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}" if others else last
