"""HTTP/1.1 for the reader (RFC 9112): bytes of a connection in, bytes of responses out.

    socket       binds the address, alone or shared with other readers
    listener     accepts connections, enforces their deadlines and stops
    client       one connection: the order of responses, timeouts, and how it ends
    common_form  requests of the form that browsers send, without the parser
    parse        bytes in, requests and refusals out; without a clock or an event loop
    request      header fields, and the cache of parsed requests
    response     head of a response as bytes

There is no TLS, no HTTP/2 and no upgrade: the proxy in front of the reader does those.
"""
