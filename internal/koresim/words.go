package koresim

var (
	firstNames = []string{"Ada", "Bruno", "Chidi", "Dana", "Emil", "Farah", "Goran", "Hana", "Ines", "Jonas", "Kaveh", "Lucía", "Mei", "Nour", "Olga", "Priya"}
	lastNames  = []string{"Abbott", "Bauer", "Castro", "Dube", "Eriksen", "Fischer", "Gupta", "Hoang", "Ito", "Jansen", "Kowalski", "Lindqvist"}
	queueNames = []string{"Default Queue", "Credit Cards", "Residential – Sales", "Tier 2", "Refunds"}
	phrases    = []string{
		"refund policy", "how do I cancel my account", "card blocked abroad", "late delivery", "change shipping address",
		"reset two-factor login", "invoice \"VAT\" number", "upgrade plan", "missing parcel", "¿dónde está mi pedido?",
		"warranty period\nfor batteries", "roaming charges",
	}
	utterances = []string{
		"Where is my order?", "I want my money back.", "My card was declined in Paris.", "Please cancel everything.",
		"I can't log in any more", "Can you change the address?", "Why was I charged twice?", "Das Paket ist beschädigt.",
		`{"type":"template","payload":{"template_type":"quick_replies","text":"Which TV would you like to buy ?"}}`,
	}
	answers = []string{
		"Refunds are made within 14 days of the return.", "The account can be closed under Settings > Account.",
		"The carrier delivers between 8:00 and 18:00.", "Please verify your identity with the code that we sent.",
		"Batteries are under warranty for two years.", "Roaming in the EU costs nothing extra.",
	}
	dialogNames  = []string{"Cancel Account", "Pay Bill", "Purchase TV", "Track Order", "Change Address"}
	connectors   = []string{"MSSharepoint", "ServiceNow", "Zendesk"}
	reasonCodes  = []string{"Wrong Intent", "Missed Context", "Inaccurate Content", "Too Lengthy", "Irrelevant Suggestion"}
	praise       = []string{"Correct Intent", "Helpful"}
	complaints   = []string{"", "not what was asked", "out of date", "took too long", "customer said \"no\"", "hilft überhaupt nicht"}
	compliments  = []string{"", "just what was asked", "spot on", "saved a call", "customer said \"great\"", "ok für den Anfang"}
	dispositions = []string{"Resolved", "DROP-OFF", "ESCALATED", "Requires Supervisor Attention", "Callback"}
	ruleNames    = []string{"Greeting Compliance", "Dead Air", "Negative Sentiment", "Hold Etiquette"}
	expressions  = []string{"positive", "neutral", "warning", "critical", "alert"}
	playbookIDs  = []string{
		"acl-0b7c1f52-93d4-4f6e-8a51-2c9de07b4411", "acl-5e2a9d06-7f18-4c3b-b6d0-91f4a3c82e77", "acl-c4d81e39-06ab-4b95-a7f2-6d3e5b90f1c8",
	}
	stepNames  = []string{"Greet the customer", "Verify identity", "Ask for the reason", "Offer a solution", "Confirm", "Say goodbye"}
	stageNames = []string{"Open", "Diagnose", "Solve", "Close"}
	tagNames   = []string{"intent", "accountnum", "callerNumber", "mood", "product"}
	notes      = []string{"Customer asked for a refund.", "Explained the policy; customer agreed.", "Will call back tomorrow.", "El cliente quería transferir dinero."}
	// surveys are what customers write who give 1 to 5.
	surveys = [5][]string{
		{"never again", "no help at all"}, {"waited too long", "asked three times"}, {"fine", "¿y ahora?"}, {"friendly", "took a while, but solved"},
		{"solved at once", "very friendly"},
	}
	hangups = []string{"Agent Closed", "User Hangup", "System Hangup", "Bot Hangup"}
)
