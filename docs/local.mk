## The documentation, as it is: Markdown, nothing is generated.

EXTRA_DIST += %D%/adr \
	%D%/api.md \
	%D%/architecture.md \
	%D%/database.md \
	%D%/hacking.md \
	%D%/performance.md \
	%D%/progress.md \
	%D%/webhooks.md
