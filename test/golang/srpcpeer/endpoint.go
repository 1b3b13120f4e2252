package main

const connected = "200 Connected to Go SRPC"

type endpoint struct {
	path    string
	coder   *coderKind
	secured bool
}

var (
	securedEndpoints = []endpoint{
		{"/_go_TLS_SRPC_/", gobCoder, true},
		{"/_SRPC_/TLS/JSON", jsonCoder, true},
	}
	unsecuredEndpoints = []endpoint{
		{"/_goSRPC_/", gobCoder, false},
		{"/_SRPC_/unsecured/JSON", jsonCoder, false},
	}
)

// chosen leaves out the endpoints whose coder is not to be used.
func chosen(endpoints []endpoint) []endpoint {
	var found []endpoint
	for _, e := range endpoints {
		if *coder == "" || *coder == e.coder.name {
			found = append(found, e)
		}
	}
	return found
}
