# What a run of build_prj.tcl or vivado_synth.tcl does. A copy in the folder where the tool is
# started wins over the one beside the scripts.

array set opt {
    reset     1
    csim      1
    csynth    1
    cosim     0
    export    0
    vsynth    0
    implement 0
}

# Another function than the design's as top (a part of a layer alone), the one source file that it
# stands in, and the folder of its HLS project; empty means the design itself.
set opt_top ""
set opt_source ""
set opt_project ""
