/** Makes a test host a node of the overlays in conf/: the first of their addresses, and what an agent would have written. */
export const overlayNode = `
ip link add uplink0 type veth peer name uplink1
ip address add 192.168.1.11/24 dev uplink0
for link in uplink0 uplink1; do ip link set $link up; done
mkdir -p /run/flannel
cat > /run/flannel/subnet.env <<END
FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
END
`;

/** The way to other hosts stays, as a bridge does, for the containers to come. */
export const overlayStays: readonly RegExp[] = [
  /^link flannel\.\d vxlan /,
  /^address flannel\.\d /,
  /^route \S+ \S* flannel\.\d /,
  /^link br-vx7 bridge /,
  /^file \/run\/weft\/overlay\/static\//,
  /^nft (rule|set) .*weft-overlay-/,
];
