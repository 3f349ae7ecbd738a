"""The colours of the plots, and the style of their axes."""

from __future__ import annotations

from matplotlib.axes import Axes

# Colours that readers with colour blindness can tell apart: Tol, 2021, "Colour schemes", muted, and black.
# Greys are for the prior.
ROSE, INDIGO, SAND, GREEN, CYAN = "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE"
WINE, TEAL, OLIVE, PURPLE, BLACK = "#882255", "#44AA99", "#999933", "#AA4499", "#000000"
PALETTE = (ROSE, INDIGO, SAND, GREEN, CYAN, WINE, TEAL, OLIVE, PURPLE, BLACK)
INK, GREY, PRIOR = "#222222", "#6b6b6b", "#c0c0c0"


def set_style(axes: Axes) -> None:
    """A white panel with a light grid, and no frame at the top and on the right."""
    axes.set_facecolor("white")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(which="both", labelsize=8.5, color=GREY, labelcolor=INK)
    axes.grid(True, color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
