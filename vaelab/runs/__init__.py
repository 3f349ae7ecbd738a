"""Training as a function, and the folder of a run.

result = runs.train(experiment)          # in memory; workdir="runs/mine" keeps everything
result.report(); result.plot_curves(); result.save("runs/mine")
trained = runs.load("runs/mine")         # without the data set
"""

from vaelab.processes import initialize, is_primary
from vaelab.runs.comparison import Comparison, compare
from vaelab.runs.experiment import Experiment
from vaelab.runs.history import History
from vaelab.runs.loading import load
from vaelab.runs.members import grid
from vaelab.runs.mesh import Mesh
from vaelab.runs.program_cache import keep_programs
from vaelab.runs.report import Report
from vaelab.runs.result import Result
from vaelab.runs.trained import Trained, import_params
from vaelab.runs.training_run import train
from vaelab.training.hooks import Hook

__all__ = [
    "Comparison",
    "Experiment",
    "History",
    "Hook",
    "Mesh",
    "Report",
    "Result",
    "Trained",
    "compare",
    "grid",
    "import_params",
    "initialize",
    "is_primary",
    "keep_programs",
    "load",
    "train",
]
