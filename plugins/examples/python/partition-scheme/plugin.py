"""Equal modules; the blocks that are left over go, one each, to the last ones."""

import incubate
from incubate import fault, parameter
from wit_world.exports.partition import ModuleDepth


class Description(incubate.Description):
    name = "front-light"
    version = "0.1.0"
    summary = "Equal modules; the remainder goes, one block each, to the last ones"
    parameters = [
        parameter("meta_depth", "Blocks of every meta module", "integer", default=1, minimum=1.0)
    ]


class Partition(incubate.Plugin):
    def divide(self, request):
        blocks, modules, meta = len(request.blocks), request.modules, self.settings["meta_depth"]
        if not 1 <= modules <= blocks:
            raise fault(
                "invalid-input",
                f"{blocks} blocks cannot be divided into {modules} modules",
                f"choose from 1 to {blocks} modules",
            )
        depth, remainder = divmod(blocks, modules)
        if meta > depth:
            raise fault(
                "invalid-input",
                f"meta_depth is {meta}, and the first module has only {depth} blocks",
                "lower meta_depth or the number of modules",
            )
        first_deep = modules - remainder
        return [ModuleDepth(depth + (index >= first_deep), meta) for index in range(modules)]
