module example.com/go-llm

go 1.26
