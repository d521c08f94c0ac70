"""Accuracy of a project on labelled pictures: the float network, QKeras and the hardware."""
