"""Darknet's own files: x.cfg, and x.weights and x.names beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolov4sdk.errors import ExportError

from ..options import ExportOptions
from ..plan import Format, Request, Step, Work
from .network_formats import network_of, refuse_changes

if TYPE_CHECKING:
    from yolov4sdk.models.darknet.writer import DarknetFiles


class DarknetFormat(Format):
    """For Darknet, OpenCV's dnn and what else reads .cfg and .weights."""

    name, suffix, is_graph = "darknet", ".cfg", False

    def check_options(self, options: ExportOptions) -> None:
        """Only the size can be chosen: a cfg has nothing else to say it with."""
        super().check_options(options)
        refuse_changes(options, self.name, allowed=("size",))

    def steps(self, request: Request) -> list[Step]:
        """Write the files, read them again, compare every value and the outputs."""
        model = network_of(request, self.name)
        files: list[DarknetFiles] = []

        def write(work: Work) -> None:
            from yolov4sdk.models.darknet.weights import write_weights
            from yolov4sdk.models.darknet.writer import to_darknet

            model.spec = model.spec.replace(input_size=request.spec.input_size)
            made = to_darknet(model)
            files.append(made)
            weights, names = (work.path.with_suffix(s) for s in (".weights", ".names"))
            work.path.write_text(made.cfg, encoding="utf-8")
            write_weights(weights, made.header, made.graph.weighted, made.values)
            names.write_text("".join(f"{n}\n" for n in model.spec.names), encoding="utf-8")
            work.files = (weights, names, work.path)

        def check(work: Work) -> None:
            from yolov4sdk.models.darknet import import_darknet
            from yolov4sdk.models.darknet.weights import read_weights
            from yolov4sdk.models.darknet.writer import equal

            from ..check import check_runner
            from ..reference import TorchReference

            (made,), (weights, _, cfg) = files, work.files
            found = read_weights(weights, made.graph.weighted)[1]
            for index, wanted in made.values.items():
                if not equal(found[index], wanted):
                    raise ExportError(f"{weights.name} holds other values for layer {index}")
            again = TorchReference(import_darknet(cfg, weights, model.spec.names))
            work.checks += check_runner(
                cfg.name, again, request.source.reference(), request.options, request.spec
            )

        return [Step("write", write), Step("check", check)]


FORMATS = (DarknetFormat(),)
