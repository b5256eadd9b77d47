## The documentation, as it is: Markdown, nothing is generated.

EXTRA_DIST += \
	%D%/architecture.md
