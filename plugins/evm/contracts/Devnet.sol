// SPDX-License-Identifier: Apache-2.0
// Contracts of the local chain: a token in the manner of USDT, and ways to move value that tell
// real deposits from false ones. Compiled by scripts/compile_contracts.mjs; never for a real chain.
pragma solidity ^0.8.28;

/// ERC-20 of six decimals whose transfer returns nothing, with an owner who mints and blocks.
contract TestUSDT {
    string public constant name = "Test Dollar";
    string public constant symbol = "USDT";
    uint8 public constant decimals = 6;
    address public immutable owner = msg.sender;
    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    mapping(address => bool) public blocked;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    modifier onlyOwner() {
        require(msg.sender == owner, "not the owner");
        _;
    }

    function mint(address to, uint256 value) external onlyOwner {
        totalSupply += value;
        balanceOf[to] += value;
        emit Transfer(address(0), to, value);
    }

    function block_(address account, bool on) external onlyOwner {
        blocked[account] = on;
    }

    /// Balances change and no event tells.
    function rebase(address account, uint256 value) external onlyOwner {
        balanceOf[account] = value;
    }

    function approve(address spender, uint256 value) external {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
    }

    function transfer(address to, uint256 value) external {
        _move(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) external {
        uint256 allowed = allowance[from][msg.sender];
        require(allowed >= value, "allowance");
        if (allowed != type(uint256).max) allowance[from][msg.sender] = allowed - value;
        _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) private {
        require(!blocked[from] && !blocked[to], "blocked");
        require(balanceOf[from] >= value, "balance");
        balanceOf[from] -= value;
        balanceOf[to] += value;
        emit Transfer(from, to, value);
    }
}

/// Says false instead of failing, and moves nothing.
contract BadToken {
    uint8 public constant decimals = 6;
    mapping(address => uint256) public balanceOf;

    constructor() {
        balanceOf[msg.sender] = 1e18;
    }

    function transfer(address, uint256) external pure returns (bool) {
        return false;
    }
}

/// Keeps a hundredth of every transfer, and its event tells the amount before that.
contract FeeToken {
    uint8 public constant decimals = 6;
    mapping(address => uint256) public balanceOf;

    event Transfer(address indexed from, address indexed to, uint256 value);

    constructor() {
        balanceOf[msg.sender] = 1e18;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value - value / 100;
        emit Transfer(msg.sender, to, value);
        return true;
    }
}

/// Emits whatever it is told to.
contract Liar {
    uint8 public constant decimals = 6;

    event Transfer(address indexed from, address indexed to, uint256 value);

    function say(address from, address to, uint256 value) external {
        emit Transfer(from, to, value);
    }
}

interface IToken {
    function transferFrom(address from, address to, uint256 value) external;
}

/// Pays several recipients in one transaction.
contract Splitter {
    function split(address[] calldata to, uint256[] calldata value) external payable {
        for (uint256 i = 0; i < to.length; i++) {
            (bool ok, ) = to[i].call{value: value[i]}("");
            require(ok, "refused");
        }
    }

    function splitToken(address token, address[] calldata to, uint256[] calldata value) external {
        for (uint256 i = 0; i < to.length; i++) {
            IToken(token).transferFrom(msg.sender, to[i], value[i]);
        }
    }
}

/// Takes value and gives it to whoever it is told to when it is destroyed at once.
contract Bomb {
    constructor(address payable to) payable {
        selfdestruct(to);
    }
}

/// Passes value on, in all the ways in which that works or fails.
contract Forwarder {
    receive() external payable {}

    function forward(address payable to) external payable {
        _pass(to, msg.value);
    }

    /// The whole transaction fails after value was passed on.
    function forwardAndRevert(address payable to) external payable {
        _pass(to, msg.value);
        revert("changed its mind");
    }

    /// Value is passed on inside a call that fails; the transaction itself succeeds.
    function tryForward(address payable to) external payable {
        try this.forwardAndRevert{value: msg.value}(to) {} catch {}
    }

    /// Calls that carry nothing, one of them to a precompile, before value is passed on.
    function detour(address payable to) external payable {
        sha256(abi.encode(to));
        this.nothing();
        _pass(to, msg.value);
    }

    function nothing() external pure {}

    /// Value arrives by self-destruction, without a call to the recipient.
    function destroyTo(address payable to) external payable {
        new Bomb{value: msg.value}(to);
    }

    function _pass(address payable to, uint256 value) private {
        (bool ok, ) = to.call{value: value}("");
        require(ok, "refused");
    }
}

/// Refuses whatever it is sent.
contract Refuser {
    receive() external payable {
        revert("not accepted");
    }
}
