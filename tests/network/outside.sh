# Sourced by cases: a machine beside this one, as a network namespace.
# 192.0.2.1 and 2001:db8:9::1 are here, .2 and ::2 there.
outside_up() {
	ip netns add client &&
		ip link add out0 type veth peer name out1 netns client &&
		ip addr add 192.0.2.1/24 dev out0 &&
		ip addr add 2001:db8:9::1/64 dev out0 nodad &&
		ip link set out0 up &&
		ip -n client addr add 192.0.2.2/24 dev out1 &&
		ip -n client addr add 2001:db8:9::2/64 dev out1 nodad &&
		ip -n client link set out1 up &&
		ip -n client link set lo up &&
		ip -n client route add default via 192.0.2.1 &&
		ip -n client -6 route add default via 2001:db8:9::1
}
outside_down() {
	ip netns del client
	while ip link show out0 >/dev/null 2>&1; do sleep 0.05; done
}
