#!/bin/sh
# Synthesizes this project where the vendor's tools are installed:
#
#   sh run_synthesis.sh [csim] [csynth] [cosim] [vivado] [implement]     (default: csynth vivado)
#
# It works in results/ and collects the reports in reports.tar.gz: bring that back and give it to
# `hwflow ingest PROJECT reports.tar.gz`.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
stages=${*:-csynth vivado}
for stage in $stages; do
    case $stage in
        csim | csynth | cosim | vivado | implement) ;;
        *)
            echo "run_synthesis.sh: unknown stage '$stage'; csim csynth cosim vivado implement" >&2
            exit 2
            ;;
    esac
done

if grep -q '^set backend "vivado"' "$here/hls/build_prj.tcl"; then
    tools="vivado_hls"
else
    tools="vitis-run vitis_hls"
fi

run_hls() {
    for tool in $tools; do
        if command -v "$tool" >/dev/null 2>&1; then
            if [ "$tool" = vitis-run ]; then
                vitis-run --mode hls --tcl "$here/hls/build_prj.tcl"
            else
                "$tool" -f "$here/hls/build_prj.tcl"
            fi
            return
        fi
    done
    echo "run_synthesis.sh: none of '$tools' is on PATH; source the vendor's settings64.sh" >&2
    exit 5
}

# options CSIM CSYNTH COSIM IMPLEMENT
options() {
    reset=1
    [ -d "$here/results/fresh" ] || reset=0
    rm -rf "$here/results/fresh"
    cat >build_opt.tcl <<END
array set opt {
    reset     $reset
    csim      $1
    csynth    $2
    cosim     $3
    export    0
    vsynth    0
    implement $4
}
set opt_top ""
set opt_source ""
set opt_project ""
END
}

rm -rf "$here/results"
mkdir -p "$here/results/fresh"
cd "$here/results"
for stage in $stages; do
    echo "== $stage"
    case $stage in
        csim) options 1 0 0 0 && run_hls ;;
        csynth) options 0 1 0 0 && run_hls ;;
        cosim) options 0 0 1 0 && run_hls ;;
        vivado) options 0 0 0 0 && vivado -mode batch -nojournal -source "$here/hls/vivado_synth.tcl" ;;
        implement) options 0 0 0 1 && vivado -mode batch -nojournal -source "$here/hls/vivado_synth.tcl" ;;
    esac
done

find . \( -path '*/syn/report/*' -o -path '*/sim/report/*' -o -name 'vivado_*.rpt' \) \
    \( -name '*.rpt' -o -name '*.xml' \) -type f ! -path '*/.autopilot/*' >files.txt
if [ ! -s files.txt ]; then
    echo "run_synthesis.sh: done; these stages leave no reports"
    exit 0
fi
tar -czf "$here/reports.tar.gz" -T files.txt
echo "run_synthesis.sh: reports are in $here/reports.tar.gz"
