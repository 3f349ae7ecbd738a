"""Grey digits, ConvDRAW, GECO with a bound on the reconstruction error: no data file is needed.

Source: Rezende & Viola, 2018, Taming VAEs, section 4.
"""

from experiments import taming
from vaelab import data
from vaelab.constraints import RE

experiment = taming.geco(
    taming.convdraw(data.Digits(binarisation="none"), (8, 8, 1)), re=RE(kappa=0.1)
)
