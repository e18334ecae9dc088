"""What happens between a request and its reply: who answers, what it may cost, and what is told of it afterwards."""
