"""The services of the history plane; one sub-package per deployable or shared part."""
