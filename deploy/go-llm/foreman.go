package llm

// Foreman is a client of the Ollama behind the foreman at baseURL, by Ollama's native
// API: requests wait for their turn there, and are answered as Ollama would. token is
// foreman's FOREMAN_API_TOKEN; "" if it has none.
//
// A request may wait in line for minutes before its first byte. So bound it by its
// context, not by a Timeout of the HTTP client.
func Foreman(baseURL, token string, opts ...ClientOption) *Client {
	own := []ClientOption{WithBaseURL(baseURL)}
	if token == "" {
		return Ollama(append(own, opts...)...)
	}
	return OllamaCloud(token, append(own, opts...)...)
}
