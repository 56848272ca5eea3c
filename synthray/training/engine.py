"""One training step, and the state that it moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from synthray import rng
from synthray.config import TrainConfig, value_at
from synthray.errors import ArtifactError, NonFiniteError
from synthray.models.base import Batch, GenerativeModel, Phase
from synthray.rng import BatchRandom, Rows
from synthray.training.averaging import average
from synthray.training.ema import EMA
from synthray.training.private import Mechanism, check_rows, public_batch
from synthray.training.settings import Relief, in_force


class Engine:
    """A model, its average, its optimizers and the step counter.

    Every random number of a step comes from a stream addressed by (seed, step, phase), drawn for
    the global batch: there is no random state to save, and the worker count does not change it.

    Args:
        mechanism: what gives the gradients of real rows their differential privacy; without one
            they are plain.

    Attributes:
        relief: what the guard's returns have made of learning rates and penalties.
    """

    def __init__(
        self,
        model: GenerativeModel,
        config: TrainConfig,
        *,
        seed: int,
        rows: Rows,
        device: torch.device | str = "cpu",
        mechanism: Mechanism | None = None,
    ) -> None:
        self.mechanism = mechanism
        self.device = torch.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config, self.seed, self.rows = config, seed, rows
        self.step = 0
        self.relief = Relief()
        self._original = model.config
        self._settled = (0, self.relief)
        self.ema = EMA(self.model)
        self.phases = model.phases()
        self._parameters: dict[tuple[str, ...], dict[str, nn.Parameter]] = {}
        self.optimizers = {
            phase.name: phase.optimizer.build(self._moved(phase).values()) for phase in self.phases
        }
        if mechanism is not None:
            for phase in self.phases:
                if phase.real:
                    check_rows(self.model, phase, self._moved(phase))

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """Move once every phase whose time it is.

        Returns the terms of the losses, averaged over all workers. With differential privacy, terms
        of real rows are not among them.
        """
        self._settle()
        self.model.train()
        progress = self.model.progress = self.step / self.config.steps
        terms: dict[str, Tensor] = {}
        for index, phase in enumerate(self.phases):
            if not phase.since <= progress < phase.until:
                continue
            phase.optimizer.apply(self.optimizers[phase.name], progress)
            for repeat in range(phase.repeats):
                address = len(self.phases) * repeat + index
                if self.mechanism is None:
                    terms |= self._phase_step(phase, batch, self._random(address))
                elif phase.real:
                    self._private_step(self.mechanism, phase, batch)
                else:
                    rows = public_batch(batch, len(self.rows))
                    terms |= self._phase_step(phase, rows, self._random(address))
        self.step += 1
        decay = value_at(self.config.ema_decay, progress)
        self.ema.update(self.model, self.step, decay)
        return terms

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """What `GenerativeModel.diagnose` tells of a batch, averaged over all workers.

        No state moves, and every worker must call it.
        """
        stream = rng.stream(self.seed, "diagnose", self.step)
        told = self.model.diagnose(batch, BatchRandom(stream, self.rows, self.device))
        means = average(list(told.values()), self.rows.weight)
        return dict(zip(told, means, strict=True))

    def _settle(self) -> None:
        """Put the settings of this step in force: they depend on the step and the relief alone."""
        due = sum(change.step <= self.step for change in self.config.schedule)
        if (due, self.relief) == self._settled:
            return
        changes = self.config.schedule[:due]
        config = in_force(self.model, self._original, changes, self.relief)
        self.model.config = self.ema.model.config = config
        self.phases = self.model.phases()
        self._settled = (due, self.relief)

    def _phase_step(self, phase: Phase, batch: Batch, random: BatchRandom) -> dict[str, Tensor]:
        half = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            loss = self.model.loss(phase.name, batch, random)
        local = torch.autograd.grad(loss.total, list(self._moved(phase).values()))
        # The terms travel with the gradients, so that all workers agree on whether to stop.
        names = list(loss.terms)
        values = [loss.total.detach(), *(loss.terms[name].detach() for name in names)]
        averaged = average([*local, *values], self.rows.weight)
        gradients, (total, *shared) = averaged[: len(local)], averaged[len(local) :]
        terms = dict(zip(names, shared, strict=True))
        self._check_finite(phase, total, gradients)
        self._move(phase, gradients, terms)
        return terms

    def _private_step(self, mechanism: Mechanism, phase: Phase, batch: Batch) -> None:
        gradients = mechanism.gradients(self.model, phase, self._moved(phase), batch)
        self._move(phase, gradients, {})

    def _move(self, phase: Phase, gradients: Sequence[Tensor], terms: dict[str, Tensor]) -> None:
        for parameter, gradient in zip(self._moved(phase).values(), gradients, strict=True):
            parameter.grad = gradient
        self.optimizers[phase.name].step()
        self.optimizers[phase.name].zero_grad(set_to_none=True)
        self.model.after_phase(phase.name, terms, self.rows.total)

    def _random(self, address: int) -> BatchRandom:
        stream = rng.stream(self.seed, "step", self.step, address)
        return BatchRandom(stream, self.rows, self.device)

    def _moved(self, phase: Phase) -> dict[str, nn.Parameter]:
        """The parameters that a phase moves, by their names in the model."""
        if phase.modules not in self._parameters:  # small networks take as long to look through
            self._parameters[phase.modules] = {
                f"{name}.{key}": parameter
                for name in phase.modules
                for key, parameter in getattr(self.model, name).named_parameters()
                if parameter.requires_grad
            }
        return self._parameters[phase.modules]

    def _check_finite(self, phase: Phase, loss: Tensor, gradients: Sequence[Tensor]) -> None:
        norms = torch._foreach_norm(list(gradients))
        if not torch.isfinite(loss + torch.stack(norms).sum()):
            raise NonFiniteError(
                f"phase {phase.name!r}, step {self.step}: the loss or a gradient is not finite "
                f"(loss {loss.item():g})",
                "lower the learning rate under model.params; training resumes from the last "
                "checkpoint",
            )

    # --- state ---------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """All tensors that the next step depends on, by name."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for name, module in self.ema.model.sampler_modules():
            tensors |= {f"ema.{name}.{k}": v for k, v in module.state_dict().items()}
        for name, key, slot, value in self._optimizer_slots():
            tensors[f"optimizer.{name}.{key}.{slot}"] = value
        return tensors

    def sampler_state(self) -> dict[str, Tensor]:
        """The averaged weights that sampling needs, by name."""
        return self.ema.model.sampler_state()

    def critic_state(self) -> dict[str, Tensor]:
        """The weights that adapting needs besides, by name."""
        return {
            f"{name}.{key}": value
            for name in self.model.critics
            for key, value in getattr(self.model, name).state_dict().items()
        }

    def load_state(self, tensors: dict[str, Tensor], step: int) -> None:
        """Take up the state of `state` after ``step`` steps.

        Raises:
            ArtifactError: it is the state of other networks.
        """

        def section(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        try:
            self.model.load_state_dict(section("model."))
            for name, module in self.ema.model.sampler_modules():
                module.load_state_dict(section(f"ema.{name}."))
            for name, optimizer in self.optimizers.items():
                _load_slots(optimizer, section(f"optimizer.{name}."))
        except (RuntimeError, KeyError, IndexError) as error:
            raise ArtifactError(
                f"the checkpoint of step {step} does not fit the family: {error}",
                "go on with the version of the family that wrote it, or delete the checkpoints",
            ) from error
        self.step = step

    def _optimizer_slots(self) -> Iterator[tuple[str, int, str, Tensor]]:
        for name, optimizer in self.optimizers.items():
            for key, slots in optimizer.state_dict()["state"].items():
                for slot, value in slots.items():
                    if isinstance(value, Tensor):
                        yield name, key, slot, value


def _load_slots(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Set an optimizer's state, given by "index of the parameter.slot"."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    slots: dict[int, dict[str, Tensor]] = {}
    for path, value in tensors.items():
        key, slot = path.split(".", 1)
        like = parameters[int(key)]
        if value.dim() and value.shape == like.shape:
            # In the parameter's memory format, which a checkpoint does not keep.
            value = torch.empty_like(like, requires_grad=False).copy_(value)
        slots.setdefault(int(key), {})[slot] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": slots})
