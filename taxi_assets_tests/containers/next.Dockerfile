# The version that comes next, which differs by its label only.
ARG BASE
FROM $BASE
LABEL next=yes
